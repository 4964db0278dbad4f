"""Explanation against its limits: the forward passes that it must make.

python benchmarks/explain.py [forwards texture smoothed sides whole] [--quick]

  forwards  global explanation without texture, all 2000 prototypes, as users
            run it (`sweep`: rows, totals, 200 bootstrap draws), against
            M + 1 = 6 forward passes of the backbone alone over the same
            batches: the unchanged images, and those of contrast, saturation,
            hue, shape and brightness. The control costs none.
  texture   non-local means of a batch against OpenCV's. OpenCV gives one
            thread to an image of this size, so it is called for one image
            after the other, as a script does, and for as many at a time as
            there are threads.
  smoothed  maps of where ten prototypes look by SmoothGrad's 16 copies, against
            the maps by one gradient 16 times; 64 pixels, the small ConvNet.
  sides     changes in two directions against changes in one.
  whole     global explanation with texture against the same in plain PyTorch,
            `torch_reference.py`; needs torch and torchvision.

Photographs of 224 pixels, all in memory; times are per image.
"""

from collections.abc import Callable, Iterator
from concurrent import futures
import dataclasses
from pathlib import Path
import sys
from typing import Any

import cv2
import jax
from jaxtyping import UInt8
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import pictures, ratios
from protojax import backbones
from protojax.datasets import photos
from protojax.explain import importance, reference_mode, sweep
from protojax.heat import maps
from protojax.modify import nlm, presets
from protojax.prototypes.network import Network
from protojax.types import Batch, PyTree, State

SIZE = 224
_PROTOTYPES = 2000
_NETWORKS = {"Lite0": "efficientnet_lite0", "ResNet-18": "resnet18"}
_BATCH = 16
_AT_ONCE = 2  # threads of OpenCV
# Between our float32 and PyTorch's: of g, and of g less a copy's g.
_TOLERANCE = 2e-4
# Of SmoothGrad; side of its image in pixels.
_COPIES, _SMALL = 16, 64


def images(count: int, seed: int = 0) -> UInt8[np.ndarray, "n H W 3"]:
  """Crops of the embedded photographs, one photograph after the other."""
  generator = np.random.default_rng(seed)
  crops = []
  for i in range(count):
    whole = photos.photograph(photos.CLASS_NAMES[i % len(photos.CLASS_NAMES)])
    y, x = (int(generator.integers(n - SIZE + 1)) for n in whole.shape[:2])
    crops.append(whole[y : y + SIZE, x : x + SIZE])
  return np.stack(crops)


def network(
  backbone: str,
  prototypes: int = _PROTOTYPES,
  variables: dict[str, PyTree] | None = None,
) -> tuple[Network, State]:
  """A ProtoPNet with random prototypes.

  Args:
    backbone: its name.
    prototypes: how many, shared out over the classes.
    variables: of the backbone; None: its pretrained ones, if it has any.
  """
  model, state = pictures.network(backbone, prototypes, SIZE)
  body = model.backbone
  if variables is None and body.pretrained is not None:
    variables = body.pretrained()
  if variables is None:
    return model, state
  params = {**state.params, "backbone": variables["params"]}
  statistics = {"batch_stats": variables["batch_stats"]}
  statistics = {**state.statistics, "backbone": statistics}
  return model, state.replace(params=params, statistics=statistics)


def explainer(
  model: Network,
  state: State,
  pixels: UInt8[np.ndarray, "n H W 3"],
  preset: presets.Preset,
) -> Callable[[], sweep.Totals]:
  """The global explanation of images by a model."""
  batches = list(_batches(pixels))
  return lambda: pictures.explained(model, state, batches, preset)


def _batches(pixels: UInt8[np.ndarray, "n H W 3"]) -> Iterator[Batch]:
  for start in range(0, len(pixels), _BATCH):
    some = pixels[start : start + _BATCH]
    index = np.arange(start, start + len(some), dtype=np.int32)
    yield {
      "image": some,
      "label": np.zeros(len(some), np.int32),
      "index": index,
      "valid": np.ones(len(some), bool),
    }


def forwards(quick: bool) -> Iterator[ratios.Pair]:
  """The sweep against forward passes of the backbone."""
  kept = [m for m in presets.REFERENCE.modifications if m.name != "texture"]
  preset = dataclasses.replace(presets.REFERENCE, modifications=tuple(kept))
  pixels = images(_BATCH if quick else 2 * _BATCH)
  for name, backbone in _NETWORKS.items():
    model, state = network(backbone)
    yield ratios.Pair(
      f"explanation / {len(kept)} forwards, {name}",
      explainer(model, state, pixels, preset),
      _forward(model, state, pixels),
      1.15,
      "lower",
      ours_units=len(pixels),
      other_units=len(pixels) / len(kept),
    )


def _forward(
  model: Network, state: State, pixels: UInt8[np.ndarray, "n H W 3"]
) -> Callable[[], Any]:
  """Features of the backbone, batch by batch."""
  run = jax.jit(model.backbone_rows)
  state, batches = jax.device_put(state), list(_batches(pixels))
  return lambda: jax.block_until_ready([run(state, x) for x in batches])


def texture(quick: bool) -> Iterator[ratios.Pair]:
  """Non-local means against OpenCV's."""
  pixels = images(_BATCH // 2 if quick else _BATCH)
  smooth = jax.jit(nlm.smooth, static_argnums=1)
  cv2.setNumThreads(_AT_ONCE)
  pool = futures.ThreadPoolExecutor(_AT_ONCE)
  np.testing.assert_array_equal(
    smooth(pixels, 4.0), [_opencv(x) for x in pixels]
  )
  others = {
    "an image at a time": lambda: [_opencv(x) for x in pixels],
    f"{_AT_ONCE} at a time": lambda: list(pool.map(_opencv, pixels)),
  }
  for name, other in others.items():
    yield ratios.Pair(
      f"texture / OpenCV, {name}",
      lambda: jax.block_until_ready(smooth(pixels, 4.0)),
      other,
      1.0,
      "lower",
      ours_units=len(pixels),
      other_units=len(pixels),
    )


def _opencv(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
  bgr = np.ascontiguousarray(image[..., ::-1])
  return cv2.fastNlMeansDenoisingColored(bgr, None, 4, 4, 7, 21)[..., ::-1]


def whole(quick: bool) -> Iterator[ratios.Pair]:
  """The sweep with texture against plain PyTorch."""
  import torch

  from benchmarks import torch_reference

  torch.set_num_threads(_AT_ONCE)
  cv2.setNumThreads(_AT_ONCE)
  pixels = images(_BATCH if quick else 2 * _BATCH)
  for name, backbone in _NETWORKS.items():
    body = backbones.load(backbone)
    if backbone == "resnet18":
      foreign, tensors = torch_reference.resnet(backbone, body, pixels)
    else:
      tensors = body.tensors()
      foreign = torch_reference.lite(tensors)
    model, state = network(backbone, variables=body.convert(tensors))
    reference = torch_reference.Reference(foreign, body, state, SIZE)
    _require_equal(model, state, reference)
    yield ratios.Pair(
      f"whole explanation against PyTorch, {name}",
      explainer(model, state, pixels, presets.REFERENCE),
      lambda script=reference: script.explain(pixels),
      1.5,
      "higher",
      ours_units=len(pixels),
      other_units=len(pixels),
    )


def sides(quick: bool) -> Iterator[ratios.Pair]:
  """Changes in two directions against changes in one."""
  two, one = presets.TWO_SIDED, presets.BALANCED
  passes = len(two.modifications), len(one.modifications)
  pixels = images(_BATCH // 2 if quick else _BATCH)
  for name, backbone in list(_NETWORKS.items())[:1]:
    model, state = network(backbone)
    yield ratios.Pair(
      f"explanation, {passes[0]} passes of two_sided / {passes[1]}, {name}",
      explainer(model, state, pixels, two),
      explainer(model, state, pixels, one),
      round(1.05 * passes[0] / passes[1], 2),
      "lower",
      ours_units=len(pixels),
      other_units=len(pixels),
    )


def smoothed(quick: bool) -> Iterator[ratios.Pair]:
  """Maps by SmoothGrad against maps of the same copies one by one."""
  del quick
  model, state = pictures.network("convnet", _PROTOTYPES, _SMALL)
  image, asked = pictures.random(1, _SMALL)[0], list(range(10))
  by_name = {
    heat: maps.HeatMaps(model, state, heat)
    for heat in ("smoothgrad", "saliency")
  }
  yield ratios.Pair(
    f"10 maps of an image by SmoothGrad / by {_COPIES} gradients",
    lambda: by_name["smoothgrad"](image, asked),
    lambda: by_name["saliency"](image, asked),
    1.0,
    "lower",
    other_units=1 / _COPIES,
  )


def _require_equal(model: Network, state: State, reference: Any) -> None:
  """Local scores in mode "reference" are the script's, at odd sizes too."""
  preset = dataclasses.replace(presets.REFERENCE, mode="reference")
  for picture in (images(1)[0], images(2)[1][:150, :201]):
    made = reference_mode.copies(picture, preset, SIZE)[None]
    local, _ = jax.jit(importance.of_batch, static_argnums=(0, 1, 3, 4))(
      lambda z: model.nearest(state, z),
      lambda z, cells: model.at(state, z, cells),
      {"image": made[:, 0], "copies": made},
      preset,
      lambda x: model.embed(state, x),
    )
    similarity_, scores = reference.local(picture)
    np.testing.assert_allclose(
      local.similarity[0], similarity_, atol=_TOLERANCE
    )
    np.testing.assert_allclose(local.delta[0, 1:], scores, atol=_TOLERANCE)


if __name__ == "__main__":
  ratios.main(
    __doc__,
    {
      "forwards": forwards,
      "texture": texture,
      "smoothed": smoothed,
      "sides": sides,
      "whole": whole,
    },
  )
