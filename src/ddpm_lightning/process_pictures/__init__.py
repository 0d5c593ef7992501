"""Pictures of the diffusion process and of a model's latent space."""
