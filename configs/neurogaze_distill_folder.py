"""Distils a static prototype grid of any modality into images of a folder.

python train.py --config=configs/neurogaze_distill_folder.py
  --config.data.root=DIR --config.modality.root=FILE.npz
  --config.anchors="('happy=0.8/0.4','sad=-0.8/-0.4')"

DIR holds train/<class>/* and test/<class>/*, or <class>/* alone. FILE.npz holds
measurements of anything, of other examples than the images: "values" [n H W c]
or [n d], "targets" [n 2], the pair of numbers that the grid lies on, and
"groups" [n], whom each was taken of. A bank of your own, "prototypes" [p d],
goes in with --config.teacher_prototypes=FILE.npz in place of measurements.
Each class needs a place on the grid, `anchors`; classes that are called as
emotions have one.

From the paper's README (2509.11916; its authors have published no code): the
weights of all losses, tau, the ramp of D-Geo, the smoothing, AdamW and its
rate. Ours: the teacher, what q_pro is, the formula of D-Geo, the anchors, the
image teacher. docs/neurogaze_distill.md has the whole list.
Variants: `:debug` shrinks everything and runs on the embedded digits where no
root is given.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "neurogaze_distill",
      "seed": 0,
      # How many, from that one on.
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      "batch_size": 128,
      # B0: cross entropy; B1: and KD; B2: and L_proto; B3: and D-Geo.
      "arm": "B3",
      # A bank from a file; '': it is built here, from the modality.
      "teacher_prototypes": "",
      # Places of classes on the grid, such as "happiness=0.8/0.4".
      "anchors": (),
      "data": {
        "name": "folder",
        "root": "",
        "train": "train",
        "test": "test",
        "test_fraction": 0.4,
        # Of the training images, to choose epochs by; 0 holds none out.
        "validation_fraction": 0.1,
        "split_seed": -1,
        "crop": False,
        # Numbers of classes -> names, where the data have numbers; '': the
        # file beside them.
        "class_map": "",
        "image_size": 224,
        "resize": "squash",
        "resize_size": 0,
        "interpolation": "",
        "augment": "crop,flip,colour",
      },
      # Other data sets to score on: names of splits, or "name=split". name,
      # root and class_map '': those of data.
      "external": {"name": "", "root": "", "class_map": "", "sets": ()},
      # name: of a data set with `measure`. size: of a measurement, in cells.
      "modality": {
        "name": "measurement_file",
        "root": "",
        "batch_size": 64,
        "size": 32,
        "channels": 4,
        # Of recordings of an EEG: seconds of a piece, and of what is left out
        # at its start and end (-1: as the data set says).
        "seconds": 4.0,
        "margin": -1.0,
      },
      # epochs 0: the values of the modality are features already. patience
      # watches the error on subjects of its own.
      "teacher": {
        "epochs": 50,
        "patience": 10,
        "loss": "mse",
        "widths": (32, 64, 128, 128),
        "rate": 1e-3,
        "weight_decay": 1e-4,
      },
      # low and high: of the two numbers, which are called `axes`. channels:
      # width of a prototype. center: the mean of the bank is subtracted.
      # control: "shuffled" or "random", to ask what the bank is worth.
      # nearest: training images that are shown for each cell.
      "bank": {
        "rows": 5,
        "columns": 5,
        "low": (-1.0, -1.0),
        "high": (1.0, 1.0),
        "axes": ("valence", "arousal"),
        "channels": 128,
        "center": True,
        "control": "",
        "nearest": 5,
      },
      "image_teacher": {
        "name": "resnet34",
        "pretrained": False,
        "weights": "",
        "dtype": "float32",
        "remat": False,
        "epochs": 50,
        "rate": 2e-4,
      },
      "backbone": {
        "name": "resnet18",
        "pretrained": False,
        "weights": "",
        "dtype": "float32",
        "remat": False,
      },
      # class_weights: "inverse_sqrt" of the frequency, "none", or numbers.
      "ce": {"label_smoothing": 0.055, "class_weights": "inverse_sqrt"},
      # form: "mse" or "kl". source: "image", a larger classifier, or
      # "prototype", similarities of classes in the bank times `scale`.
      "kd_mse": {
        "weight": 0.30,
        "temperature": 5.0,
        "form": "mse",
        "source": "image",
        "scale": 10.0,
      },
      # target: what q_pro is, "anchor" (of width sigma), "self", "nearest" or
      # "uniform". temperature: of mode "kl_logits" alone.
      "proto_kd": {
        "mode": "cos",
        "weight": 0.12,
        "tau": 0.90,
        "temperature": 5.0,
        "target": "anchor",
        "sigma": 0.8,
      },
      # hard_gate: the cap of the variance, kappa. margin: delta. decay: of the
      # running class means.
      "d_geo": {
        "weight": 0.012,
        "positive_classes": (),
        "schedule": "late_cosine",
        "start_epoch": 20,
        "end_epoch": 60,
        "hard_gate": 0.2,
        "intra_class": True,
        "margin": 0.5,
        "decay": 0.9,
      },
      "optim": {
        "epochs": 100,
        "rate": 2e-4,
        "warmup": 0,
        "weight_decay": 0.05,
        "clip_norm": 1.0,
        "patience": 0,
      },
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "debug": {
    "batch_size": 64,
    "anchors": (),
    "data": {
      "name": "measured_digits",
      "root": "",
      "image_size": 8,
      "resize_size": 0,
      "augment": "",
      "validation_fraction": 0.0,
      "train": "train",
      "test": "test",
    },
    "external": {"name": "", "root": "", "sets": ()},
    "modality": {
      "name": "measured_digits",
      "root": "",
      "size": 8,
      "channels": 4,
    },
    "teacher": {"epochs": 2, "patience": 0, "widths": (8,)},
    "bank": {"channels": 16, "nearest": 2},
    "image_teacher": {
      "name": "convnet",
      "pretrained": False,
      "weights": "",
      "epochs": 1,
    },
    "backbone": {"name": "convnet", "pretrained": False, "weights": ""},
    "d_geo": {"start_epoch": 0, "end_epoch": 1},
    "optim": {"epochs": 2, "patience": 0},
  }
}
