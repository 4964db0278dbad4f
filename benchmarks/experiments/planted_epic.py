"""Explanations of EPIC, where the cause of the label is known."""

from benchmarks import planted

QUESTION = "Do explanations of EPIC find the planted cause?"

ARMS = planted.arms("epic")

FIGURES = planted.FIGURES

SEEDS = (0,)

MEASURE = planted.measure

SETTINGS = planted.SETTINGS

TABLE = planted.table
