"""Noise -> image: processes, samplers, guidance, transformer, autoencoder."""
