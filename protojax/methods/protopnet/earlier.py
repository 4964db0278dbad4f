"""What earlier versions lacked: config keys that came later."""

from protojax.data import resizing

# Key -> the value that does what runs without it did.
LATER = {
  **resizing.LATER,
  "data.validation_fraction": 0.0,
  "data.crop": False,
  "data.copies": 1,
  "joint.patience": 0,
  "pretrain.epochs": 0,
  "pretrain.backbone": 1e-3,
  "pretrain.weight_decay": 1e-3,
  "accumulate": 1,
  "prototypes.head": "dense",
  "prototypes.kernel": "xla",
  "prototypes.sharded": False,
  "last.solver": "adam",
  "last.ridge": 1e-4,
  "last.steps": 1000,
}
