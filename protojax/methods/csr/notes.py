"""What the notes on prototypes mean, for readers of the report."""

NOTES = {
  "kind": "Free vector: learned, and not a patch.",
  "vectors": "How often it is the nearest one to the concept in an image.",
}
