"""NeuroGaze-Distill: a frozen grid of prototypes from another measurement."""
