"""Prototypes: their forward path, then their life (push, prune)."""
