"""Explanations of ProtoPNet, where the cause of the label is known."""

from benchmarks import planted

QUESTION = "Do explanations of ProtoPNet find the planted cause?"

ARMS = planted.arms("protopnet")

FIGURES = planted.FIGURES

SEEDS = (0, 1, 2)

MEASURE = planted.measure

SETTINGS = planted.SETTINGS

TABLE = planted.table
