"""Finds objects in photographs, in the image and in space, by their centres."""
