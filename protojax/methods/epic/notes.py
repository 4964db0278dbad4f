"""What the notes on prototypes mean, for readers of the report."""

NOTES = {
  "purity": (
    "How little the patches that activate it most activate other channels; 1:"
    " not at all. Before: in the classifier as it was trained."
  )
}
