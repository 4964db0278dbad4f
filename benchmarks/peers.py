"""Pictures of where prototypes look, against CaBRNet 1.2.

python benchmarks/peers.py [maps] [--quick]

  maps   one image of 224 pixels and its 10 most similar prototypes, ResNet-18,
         P = 2000: answer, boxes and heat maps. By upsampling, by prototypical
         relevance propagation (PRP), and by SmoothGrad with 16 noisy copies.

Both sides have the same weights and end in pictures in memory: CaBRNet's files
and its PDF are left out in its favour. Needs torch, torchvision and
cabrnet==1.2. Other comparisons with CaBRNet stand in `push.py` and `train.py`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
import sys
from typing import Any

import jax
from jaxtyping import UInt8
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import explain, ratios
from protojax import backbones
from protojax.heat import maps as maps_lib
from protojax.prototypes.bank import bank_of
from protojax.prototypes.network import Network
from protojax.types import State

_ASKED = 10  # prototypes of an image
_THREADS = 2
_COPIES, _NOISE = 16, 0.15  # of SmoothGrad, ours
# Heat map -> CaBRNet's name of it, its settings, and the ratio that is wanted.
_HEATS = {
  "upsampling": ("cubic_upsampling", {}, 5.0),
  "prp": ("prp", {"location": "max"}, 2.0),
  "smoothgrad": (
    "smoothgrad",
    {"location": "max", "num_samples": _COPIES, "noise_ratio": _NOISE},
    2.0,
  ),
}


def maps(quick: bool, device: str = "cpu") -> Iterator[ratios.Pair]:
  """Heat maps of one image, one row for each attribution."""
  from benchmarks import torch_reference

  body = backbones.load("resnet18")
  images = explain.images(8)
  _, tensors = torch_reference.resnet("resnet18", body, images)
  model, state = explain.network("resnet18", variables=body.convert(tensors))
  other = _cabrnet(tensors, model, state)
  chosen = "upsampling", *([] if quick else ["prp", "smoothgrad"])
  for heat in chosen:
    name, settings, target = _HEATS[heat]
    yield ratios.Pair(
      f"10 maps of an image against CaBRNet, {heat}",
      _ours(model, state, images[0], heat),
      _theirs(other.to(device), images[0], name, settings, device),
      target,
      "higher",
    )


def _ours(
  model: Network, state: State, image: UInt8[np.ndarray, "H W 3"], heat: str
) -> Callable[[], Any]:
  embed, answers = jax.jit(model.embed), jax.jit(model.answers)
  heat_maps, state = (
    maps_lib.HeatMaps(model, state, heat),
    jax.device_put(state),
  )

  def explained() -> Any:
    embedded = embed(state, image[None])
    found = answers(state, {"embedded": embedded})
    nearest = np.argsort(-np.asarray(found["similarities"][0]))[:_ASKED]
    return heat_maps(image, nearest.tolist(), embedded=embedded[0])

  return explained


def _theirs(
  model: Any,
  image: UInt8[np.ndarray, "H W 3"],
  attribution: str,
  settings: dict[str, Any],
  device: str,
) -> Callable[[], Any]:
  from cabrnet.core.visualization import view, visualizer
  from PIL import Image
  import torch
  from torchvision import transforms

  look_ = visualizer.SimilarityVisualizer(
    model,
    visualizer.SUPPORTED_ATTRIBUTION_FUNCTIONS[attribution],
    view.heatmap,
    dict(settings),
  )
  body = backbones.load("resnet18")
  prepare = transforms.Compose(
    [transforms.ToTensor(), transforms.Normalize(body.mean, body.std)]
  )
  picture = Image.fromarray(image)

  def explained() -> Any:
    pixels = prepare(picture)[None].to(device)
    with torch.no_grad():
      _, distances = model(pixels)
    nearest = distances[0].argsort()[:_ASKED]
    return [
      look_.forward(picture, pixels, int(j), device=device) for j in nearest
    ]

  return explained


def _cabrnet(
  tensors: dict[str, np.ndarray], model: Network, state: State
) -> Any:
  """CaBRNet's ProtoPNet with the same weights; its answers are ours."""
  import torch

  from benchmarks import torch_reference, torch_training

  torch.set_num_threads(_THREADS)
  count, channels = bank_of(state).vectors.shape[::3]
  classes = len(model.class_names)
  other = torch_training.cabrnet(classes, channels, count // classes).eval()
  other.extractor.convnet.load_state_dict(
    {
      name: torch.tensor(tensor)
      for name, tensor in tensors.items()
      if not name.startswith("fc.")
    }
  )
  layers = torch_reference.add_on(state)
  for own, given in zip(other.extractor.add_on, layers, strict=True):
    own.load_state_dict(given.state_dict())
  prototypes = torch.tensor(bank_of(state).vectors)
  other.classifier.prototypes.data = prototypes.permute(0, 3, 1, 2)
  _require_equal(other, model, state)
  return other


def _require_equal(other: Any, model: Network, state: State) -> None:
  import torch

  from benchmarks import torch_reference

  image = explain.images(1)
  with torch.no_grad():
    logits, _ = other(torch_reference.normalised(image, model.backbone))
  found = jax.jit(model.answers)(state, {"image": image})
  np.testing.assert_allclose(logits, found["logits"], rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
  ratios.main(__doc__, {"maps": maps})
