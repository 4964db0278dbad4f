"""A method that generates images."""
