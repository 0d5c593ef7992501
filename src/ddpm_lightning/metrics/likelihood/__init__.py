"""The likelihood of images under a model, in bits per dimension: by the variational bound, and by the ODE."""
