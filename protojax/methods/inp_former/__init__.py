"""INP-Former (Luo et al., CVPR 2025)."""
