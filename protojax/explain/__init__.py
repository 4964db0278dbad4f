"""How a prototype is explained: what matters to it, and where it looks."""
