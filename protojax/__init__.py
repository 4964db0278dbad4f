"""Prototype-based vision in JAX: this looks like that, because of what."""
