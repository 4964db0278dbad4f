"""Proactive agents of the embedded world: what of them is trained."""
