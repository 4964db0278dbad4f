"""Explanations of CSR, where the cause of the label is known."""

from benchmarks import planted

QUESTION = "Do explanations of CSR find the planted cause?"

ARMS = planted.arms("csr")

FIGURES = planted.FIGURES

SEEDS = (0,)

MEASURE = planted.measure

SETTINGS = planted.SETTINGS

TABLE = planted.table
