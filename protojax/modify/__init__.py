"""Image -> the same image with one visual characteristic changed."""
