"""Prototype-based vision in JAX: this looks like that, because of what."""

__version__ = "0.1.0"
