"""PEM on small road frames, with the levels of EfficientNet-Lite0.

`scaleprotoseg_camvid` has ScaleProtoSeg, ProtoSeg and a linear head on the same
frames. The backbone rests here, too.
"""

from benchmarks.experiments import scaleprotoseg_camvid as others

QUESTION = "What do queries that pick one token each reach on road frames?"

_FRAMES = {
  key: value
  for key, value in others.ARMS["ScaleProtoSeg"][1].items()
  if key.startswith("data.") or key == "batch_size"
}

ARMS = {
  "PEM": (
    "configs/pem_folder.py",
    {
      **_FRAMES,
      "train.steps": 300,
      "train.rate": 2e-3,
      "train.backbone": 0.0,
      "decoder.queries": 30,
      "decoder.channels": 128,
      "decoder.width": 256,
      "pixels.channels": 64,
      "pixels.mask_channels": 64,
      "loss.points": 512,
    },
  )
}

FIGURES = {
  "mIoU": "miou",
  "boundary IoU": "boundary_iou",
  "pixel accuracy": "pixel_accuracy",
}

SEEDS = (0, 1, 2)
