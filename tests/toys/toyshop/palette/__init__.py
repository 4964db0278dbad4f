"""A method without classes."""
