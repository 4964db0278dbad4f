"""What earlier versions lacked: config keys that came later."""

# Key -> the value that does what earlier runs did.
LATER = {
  "adapt.confidence": 0.0,
  "backbone.norm_by_domain": False,
  "entropy.views": 5,
  "entropy.weight": 0.0,
}
