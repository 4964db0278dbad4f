"""ProtoPNet (Chen et al., NeurIPS 2019)."""
