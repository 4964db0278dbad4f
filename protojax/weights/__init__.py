"""Files of strangers -> arrays; nothing in them is run."""
