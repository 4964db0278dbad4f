"""Loss terms, one value per example."""
