"""TCSA-UDA: segmentation across scanners, by relations of words."""
