"""Splits pictures of shoes, real or generated, so that no near-copy is in both.

python benchmarks/shoes.py --data=DIR --output=DIR/shoes

--data has `shoes_real_ai`: Real/*.jpg and AI/*.jpg. Two pictures whose vectors
of EfficientNet-Lite0 have a cosine above 0.9 are linked, and all that hangs
together by links goes to one side. Written are PNGs of 112 pixels, about half
of their side, as the class can be read off the tables of the JPEG files: all
real ones have one, all generated ones another. What brightness and colour alone
tell of the class on this split is printed: a logistic regression on the mean
and the deviation of each channel.
"""

import argparse
from pathlib import Path
import sys

import jax
from jaxtyping import Float, Int
import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parents[1]))

from protojax import backbones, parallel
from protojax.backbones import pooled
from protojax.prototypes import start

_BACKBONE, _SIDE, _WRITTEN = "efficientnet_lite0", 224, 112
_KINDS = {"Real": "real", "AI": "fake"}
_COSINE, _TRAINING, _BATCH = 0.9, 0.6, 50


def _vectors(files: list[Path]) -> Float[np.ndarray, "n d"]:
  """Unit vectors, less their mean."""
  backbone = backbones.load(_BACKBONE)
  variables = start.variables(backbone, _BACKBONE, "")
  embed = jax.jit(lambda images: pooled.pooled(backbone, variables, images))
  rows = []
  for first in range(0, len(files), _BATCH):
    images = [_pixels(f, _SIDE) for f in files[first : first + _BATCH]]
    short = _BATCH - len(images)
    rows.append(embed(np.stack(images + images[:1] * short))[: len(images)])
  found = np.concatenate(rows)
  found = found - found.mean(axis=0)
  return found / np.linalg.norm(found, axis=1, keepdims=True)


def _pixels(file: Path, side: int) -> np.ndarray:
  with Image.open(file) as image:
    whole = image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(whole)


def _groups(vectors: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
  """Number of the group of each picture: links are followed to their end."""
  linked = vectors @ vectors.T > _COSINE
  group = np.arange(len(vectors))
  while True:
    least = np.where(linked, group[None], len(group)).min(axis=1)
    if (least == group).all():
      return group
    group = least


def _colours(images: list[np.ndarray]) -> Float[np.ndarray, "n 6"]:
  pixels = np.stack(images) / 255
  return np.concatenate([pixels.mean((1, 2)), pixels.std((1, 2))], axis=1)


def main() -> None:
  """Writes the folders, and tells what was linked."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--data", type=Path, required=True, metavar="DIR")
  parser.add_argument("--output", type=Path, required=True, metavar="DIR")
  args = parser.parse_args()
  parallel.setup()
  root = args.data / "shoes_real_ai"
  files = [f for kind in _KINDS for f in sorted((root / kind).glob("*.jpg"))]
  group = _groups(_vectors(files))
  numbers, counts = np.unique(group, return_counts=True)
  label = np.array([f.parent.name == "AI" for f in files])
  mixed = sum(len({*label[group == g]}) > 1 for g in numbers)
  several = int((counts > 1).sum())
  print(
    f"{len(files)} pictures, {len(numbers)} groups, {several} of several, the"
    f" largest of {counts.max()}, {mixed} with both classes"
  )
  order = np.random.default_rng(0).permutation(numbers)
  sizes = np.cumsum([counts[numbers == g][0] for g in order])
  training = set(order[sizes <= _TRAINING * len(files)].tolist())
  inside = np.array([g in training for g in group])
  images = [_pixels(f, _WRITTEN) for f in files]
  for file, image, trains in zip(files, images, inside, strict=True):
    split, kind = ("train" if trains else "test"), _KINDS[file.parent.name]
    folder = args.output / split / "shoes" / kind
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / f"{file.stem}.png")
  for name, own in (("train", inside), ("test", ~inside)):
    print(
      f"{name}: {int((~label[own]).sum())} real, {int(label[own].sum())} AI"
    )
  colours = _colours(images)
  model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
  model.fit(colours[inside], label[inside])
  right = model.score(colours[~inside], label[~inside])
  print(f"brightness and colour alone: accuracy {right:.3f}")


if __name__ == "__main__":
  main()
