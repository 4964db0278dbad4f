"""Which pixels: similarity maps, gradients, relevance, receptive fields."""
