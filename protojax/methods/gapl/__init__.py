"""GAPL: real or generated, by attention to prototypes (Qin et al., 2025)."""
