"""Small data sets of defects in every layout, as `make_folder` takes them."""

import io
import json

import ml_collections
import numpy as np
from PIL import Image


def config(**changes):
  """A data config with some keys changed."""
  values = {
    "name": "folder",
    "root": "",
    "category": "",
    "shots": 0,
    "image_size": 16,
    "test_fraction": 0.4,
    "calibration_fraction": 0.25,
    "split_seed": -1,
  }
  return ml_collections.ConfigDict({**values, **changes}).lock()


def mask(seed=0, size=(12, 10)):
  """Black and white, white in a rectangle that depends on the seed."""
  pixels = np.zeros(size, np.uint8)
  pixels[2 : 4 + seed % 4, 3:7] = 255
  return pixels


def mvtec(*categories, train=8, test=3, kinds=("crack", "hole")):
  """A tree like MVTec-AD's; '' is a category that is the root itself."""
  tree = {}
  for category in categories:
    root = f"{category}/" if category else ""
    tree |= {f"{root}train/good/{i:03d}.png": i for i in range(train)}
    tree |= {f"{root}test/good/{i:03d}.png": 50 + i for i in range(test)}
    for kind in kinds:
      for i in range(test):
        tree[f"{root}test/{kind}/{i:03d}.png"] = 90 + i
        tree[f"{root}ground_truth/{kind}/{i:03d}_mask.png"] = mask(i)
  return tree


def visa(*categories):
  """A tree like VisA's: masks hold the number of a kind, not greys."""
  tree, rows = {}, ["object,split,label,image,mask"]
  for category in categories:
    images = f"{category}/Data/Images"
    for i in range(6):
      name = f"{images}/Normal/{i:04d}.JPG"
      tree[name] = i
      rows.append(f"{category},{'train' if i < 4 else 'test'},normal,{name},")
    for i in range(2):
      name = f"{images}/Anomaly/{i:03d}.JPG"
      truth = f"{category}/Data/Masks/Anomaly/{i:03d}.png"
      tree |= {name: 20 + i, truth: np.minimum(mask(i), 1 + i)}
      rows.append(f"{category},test,anomaly,{name},{truth}")
  tree["split_csv/1cls.csv"] = "\n".join(rows).encode()
  return tree


def real_iad(*categories, lists="realiad_jsons"):
  """A tree like Real-IAD's, in two sizes."""
  tree = {}
  for category in categories:
    normal = [f"OK/S{i:04d}/{category}_{i:04d}_OK_C1.jpg" for i in range(6)]
    bad = [f"NG/AK/S{i:04d}/{category}_{i:04d}_NG_AK_C1.jpg" for i in range(2)]
    for home in (f"realiad_256/{category}", f"realiad_1024/{category}"):
      tree |= {f"{home}/{name}": i for i, name in enumerate((*normal, *bad))}
      tree |= {f"{home}/{n[:-4]}.png": mask(i) for i, n in enumerate(bad)}
    items = [_item(category, "OK", name, None) for name in normal]
    items += [_item(category, "AK", n, f"{n[:-4]}.png") for n in bad]
    content = {
      "meta": {"prefix": f"{category}/", "normal_class": "OK"},
      "train": items[:4],
      "test": items[4:],
    }
    tree[f"{lists}/{category}.json"] = json.dumps(content).encode()
  return tree


def plain(normal="good", count=10):
  """Kinds of defects with the masks beside their images, in two ways."""
  tree = {f"{normal}/{i:02d}.png": i for i in range(count)}
  for i in range(3):
    tree |= {f"scratch/{i}.jpg": 30 + i, f"scratch/{i}.png": mask(i)}
    tree |= {f"dent/{i}.png": 40 + i, f"dent/{i}_mask.png": mask(i)}
    tree |= {f"stain/{i}.png": 60 + i, f"ground_truth/stain/{i}.bmp": mask(i)}
  return tree


def png(pixels):
  """The bytes of an image file."""
  content = io.BytesIO()
  Image.fromarray(pixels).save(content, "PNG")
  return content.getvalue()


def _item(category, kind, image, truth):
  return {
    "category": category,
    "anomaly_class": kind,
    "image_path": image,
    "mask_path": truth,
  }
