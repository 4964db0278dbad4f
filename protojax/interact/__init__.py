"""Puts a concept model right, and shows what it would say then."""

from protojax.interact.answers import Answer, Model, intervene

__all__ = ["Answer", "Model", "intervene"]
