"""Heat maps: which pixels make an image similar to a prototype."""
