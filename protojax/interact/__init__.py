"""Lets a person correct a concept model, and shows its answers then."""

from protojax.interact.answers import Answer, Model, intervene

__all__ = ["Answer", "Model", "intervene"]
