"""INP-Former on a folder of normal and defective images.

python train.py --config=configs/inp_former_folder.py --config.data.root=DIR

DIR is laid out as MVTec-AD, VisA or Real-IAD, or holds one folder of normal
images (good, normal, ok or free) beside folders of defects, the truth of each
as <stem>.png. Several data sets are joined by commas. Settings of the paper:

- multi-class: as above, one model for all categories; with several roots,
  super-multi-class;
- single-class: --config.data.category=NAME;
- few-shot: --config.data.shots=4 (or 1, 2), each image as 22 copies;
- zero-shot: --init-from=WORKDIR of another data set, with --config.epochs=0
  --config.map.kind=distance.

Rates, losses and the number of prototypes are the paper's (2503.02424); its
encoder is a DINOv2 ViT-B at 392 pixels, the middle of 448, eight levels and
eight blocks, for 200 epochs. Here the stages of EfficientNet-Lite0 stand for
it; `:dinov2` takes the paper's, whose weights --config.backbone.weights=FILE
names.
Variants: `:debug` shrinks everything, and runs on the embedded textures where
no root is given.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "inp_former",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 16,
      "epochs": 50,
      "data": {
        "name": "folder",
        "root": "",
        # '': all, in one model.
        "category": "",
        # 0: all normal images.
        "shots": 0,
        "test_fraction": 0.4,
        # Of the normal training images, held out to choose the threshold on. 0:
        # none, as in the paper's code; it is chosen on the training images.
        "calibration_fraction": 0.2,
        # -1: the run's seed.
        "split_seed": -1,
        "image_size": 224,
        # "squash": both sides become resize_size (0: image_size); "aspect": the
        # shorter one; "weights": as the backbone's weights were trained. The
        # middle square of image_size is seen. interpolation '': bilinear.
        "resize": "squash",
        "resize_size": 0,
        "interpolation": "",
      },
      # weights: a file, or hf:owner/name; '': those that come with it. dtype:
      # "bfloat16" is faster on GPU and TPU. remat: less memory, more time.
      "backbone": {
        "name": "efficientnet_lite0",
        "pretrained": True,
        "weights": "",
        "dtype": "float32",
        "remat": False,
      },
      # Levels from shallow to deep; cells on a side; sides of the image, as
      # shares, at which the levels are read (times the levels an even number);
      # levels brought around zero and to one scale.
      "encoder": {
        "levels": ("stage_3", "stage_4", "stage_5", "stage_6"),
        "grid": 14,
        "scales": (1.0,),
        "standardise": True,
      },
      "prototypes": {"count": 6, "heads": 4, "static": False},
      "decoder": {
        "blocks": 2,
        "heads": 4,
        "attention": "relu",
        "residual": False,
      },
      "loss": {"coherence": 0.2, "gamma": 3.0},
      "optimizer": {
        "rate": 1e-3,
        "end": 1e-4,
        "warmup": 50,
        "weight_decay": 1e-4,
        "clip_norm": 0.1,
      },
      # "reconstruction", or "distance" to the prototypes for zero-shot; the
      # share of the highest pixels that is the score; the power of a cell's
      # relative length that its error is multiplied by (0: the paper's).
      "map": {
        "kind": "reconstruction",
        "size": 256,
        "share": 0.01,
        "length": 0.0,
      },
      "threshold": {"false_positive_rate": 0.05},
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "dinov2": {
    "epochs": 200,
    # The middle 392 pixels of 448, of images and masks.
    "data": {"image_size": 392, "resize": "squash", "resize_size": 448},
    # Position embeddings resampled as in the paper's code.
    "backbone": {"name": "dinov2_base_offset"},
    "encoder": {
      # The third to the tenth of twelve, without the final norm (section 3).
      "levels": tuple(f"block_{n}" for n in range(3, 11)),
      "grid": 28,
      "scales": (1.0,),
      "standardise": False,
    },
    "map": {"share": 0.01, "length": 0.0},
    "prototypes": {"heads": 12},
    "decoder": {"blocks": 8, "heads": 12},
    "optimizer": {"warmup": 100},
  },
  "debug": {
    "batch_size": 16,
    "epochs": 2,
    "data": {
      "name": "textures",
      "root": "",
      "image_size": 32,
      "resize_size": 0,
    },
    "backbone": {"name": "convnet", "pretrained": False},
    "encoder": {"levels": ("stage_1", "stage_2"), "grid": 8},
    "prototypes": {"count": 3, "heads": 2},
    "decoder": {"blocks": 2, "heads": 2},
    "map": {"size": 32},
  },
}
