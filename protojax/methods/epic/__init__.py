"""EPIC (Borycki et al., AAAI 2026)."""
