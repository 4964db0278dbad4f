"""ST-ProtoPNet (Wang et al., ICCV 2023)."""
