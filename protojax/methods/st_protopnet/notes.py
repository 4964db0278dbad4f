"""What the notes on prototypes mean, for readers of the report."""

NOTES = {
  "kind": (
    "Trivial: as far from other classes as possible. Support: close to other"
    " classes, but told apart from them."
  ),
  "boundary distance": (
    "Distance to the nearest place where another class has as many points. It"
    " is small if the prototype decides between similar classes."
  ),
}
