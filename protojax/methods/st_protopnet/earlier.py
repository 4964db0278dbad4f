"""What earlier versions lacked: config keys that came later."""

from protojax.data import resizing

# Key -> the value that does what runs without it did.
LATER = {
  **resizing.LATER,
  "data.augment_frozen": False,
  "backbone.upsample": 1,
  "prototypes.raw": False,
  "clip_cosines": False,
  "batch_norm_parity": False,
  "joint.drops": [],
}
