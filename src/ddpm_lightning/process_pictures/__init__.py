"""Pictures of the diffusion process and of a model's latent space, drawn from a checkpoint by `sample.py draw=...`."""
