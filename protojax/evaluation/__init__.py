"""Measures models and their explanations, and compares methods."""
