"""What earlier versions lacked: config keys that came later."""

# Key -> the value that does what runs without it did.
LATER = {
  "data.augment_frozen": False,
  "prototypes.raw": False,
  "joint.drops": [],
}
