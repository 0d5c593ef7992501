"""Samplers: pure loops over a denoiser, from noise to images."""
