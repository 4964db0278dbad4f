"""The config of the toy."""

from ml_collections import ConfigDict


def get_config(variants: str = "") -> ConfigDict:
  """The config; variants change nothing."""
  del variants
  config = ConfigDict(
    {
      "method": "toyshop.swirl.method",
      "seed": 0,
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 8,
      "epochs": 4,
      "data": {
        "name": "toyshop.shapes",
        "root": "",
        "train": "train",
        "test": "test",
        "validation_fraction": 0.0,
        "split_seed": -1,
        "crop": False,
        "image_size": 16,
      },
    }
  )
  return config.lock()
