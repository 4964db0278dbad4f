"""What earlier versions lacked: config keys that came later."""

# Key -> the value that does what runs without it did.
LATER = {"groups.rescaled": False}
