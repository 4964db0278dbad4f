"""Label diffusion held by class prototypes, for wrong pseudo-labels."""
