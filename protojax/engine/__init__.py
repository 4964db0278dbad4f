"""Stages, optimisers, checkpoints and logs: how a method is trained."""
