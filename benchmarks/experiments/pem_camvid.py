"""PEM on small road frames, with the levels of EfficientNet-Lite0.

`scaleprotoseg_camvid` has ScaleProtoSeg, ProtoSeg and a linear head on the same
frames.
"""

from benchmarks.experiments import scaleprotoseg_camvid as others

QUESTION = "What do queries that pick one token each reach on road frames?"

_FRAMES = {
  key: value
  for key, value in others.ARMS["ScaleProtoSeg"][1].items()
  if key.startswith("data.") or key == "batch_size"
}
_DATA = {
  **_FRAMES,
  "train.steps": 400,
  "decoder.queries": 30,
  "decoder.channels": 128,
  "decoder.width": 256,
  "pixels.channels": 64,
  "pixels.mask_channels": 64,
}

ARMS = {
  "PEM": ("configs/pem_folder.py", _DATA),
  "full masked cross-attention": ("configs/pem_folder.py:masked", _DATA),
}

FIGURES = {
  "mIoU": "miou",
  "boundary IoU": "boundary_iou",
  "pixel accuracy": "pixel_accuracy",
}

SEEDS = (0, 1, 2)
