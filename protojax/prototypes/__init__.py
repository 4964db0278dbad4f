"""Prototypes: their forward path, their start from data, and the push."""
