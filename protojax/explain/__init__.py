"""Explanations as plain data: which characteristics matter, and where."""
