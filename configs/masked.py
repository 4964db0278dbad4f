"""The data of methods that give each pixel a class: a folder with masks."""

# Layout and keys: docs/data.md.
FOLDER = {
  "name": "mask_folder",
  "root": "",
  "train": "train",
  "test": "test",
  # Name of the folders of masks.
  "masks": "masks",
  # (): those of classes.txt.
  "classes": (),
  # Value of pixels of masks that have no class; -1: there is none.
  "void": 255,
  # Where a folder has no splits.
  "test_fraction": 0.4,
  "validation_fraction": 0.0,
  # -1: the run's seed.
  "split_seed": -1,
  "crop": False,
  "image_size": 224,
  "resize": "squash",
  "resize_size": 0,
  "interpolation": "",
}
