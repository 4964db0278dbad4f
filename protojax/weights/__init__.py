"""Reads the weights in files of others as arrays; executes nothing in them."""
