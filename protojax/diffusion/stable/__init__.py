"""Stable Diffusion 1.5 and 2.1, read from a user's folder of diffusers."""
