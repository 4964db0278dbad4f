"""A method without images and without gradient descent."""
