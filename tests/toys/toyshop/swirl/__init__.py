"""A method with all that a method may have."""
