"""The commands: a module each, found by its name."""
