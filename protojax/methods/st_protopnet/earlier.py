"""What earlier versions lacked: config keys that came later."""

# Key -> the value that does what runs without it did.
LATER = {
  "data.augment_frozen": False,
  "backbone.upsample": 1,
  "prototypes.raw": False,
  "joint.drops": [],
}
