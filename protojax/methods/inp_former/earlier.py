"""What earlier versions lacked: config keys that came later."""

# Key -> the value that does what runs without it did.
LATER = {"encoder.scales": [1.0], "map.length": 0.0}
