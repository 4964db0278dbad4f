"""ProMoE: a diffusion transformer whose experts are prototypes."""
