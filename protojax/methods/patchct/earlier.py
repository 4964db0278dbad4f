"""Config keys that earlier runs of PatchCT were written without."""

LATER = {"head.shared": False}
