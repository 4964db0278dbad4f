"""What earlier versions lacked: config keys that came later."""

from protojax.data import resizing

# Key -> the value that does what runs without it did; but for "rotation.pairs":
# those of the solver "adam" took batches of images.
LATER = {**resizing.LATER, "rotation.pairs": 512}
