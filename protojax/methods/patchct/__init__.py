"""PatchCT: patches of an image and labels, aligned by conditional transport."""
