"""CSR (Huy et al., CVPR 2025)."""
