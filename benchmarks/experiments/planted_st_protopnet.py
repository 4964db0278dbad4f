"""Explanations of ST-ProtoPNet, where the cause of the label is known."""

from benchmarks import planted

QUESTION = "Do explanations of ST-ProtoPNet find the planted cause?"

ARMS = planted.arms("st_protopnet")

FIGURES = planted.FIGURES

SEEDS = (0,)

MEASURE = planted.measure

SETTINGS = planted.SETTINGS

TABLE = planted.table
