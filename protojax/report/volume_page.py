"""The page of volumes: each slice with its answer and truth, by a slider."""

import base64
from collections.abc import Iterator
import io
from typing import Any

from jaxtyping import UInt8
from markupsafe import Markup
import numpy as np
from PIL import Image

from protojax.data import palette
from protojax.data.source import origin
from protojax.datasets import slices
from protojax.datasets.slices import Slices
from protojax.explain import volume_answers
from protojax.explain.volume_answers import Volume
from protojax.report import page
from protojax.report.special_pages import Page
from protojax.types import Picture, State

_VOLUMES = 8  # on the page
_HIGH = 256  # pixels of a slice's longer side, at least


def pages(method: Any, state: State) -> Iterator[Page]:
  """One page, if the test images are slices of volumes.

  Args:
    method: gives the stream of the test images, and its network.
    state: of the method.
  """
  data, network = method.stream("test"), method.network
  source, _ = origin(data.source)
  if not isinstance(source, Slices):
    return
  names, shown = network.class_names, []
  for volume in volume_answers.answered(network.answers, state, data, source):
    shown.append(_volume(volume, source, len(names)))
    if len(shown) == _VOLUMES:
      break
  colours = [
    (name, f"rgb{tuple(colour.tolist())}")
    for name, colour in zip(names, palette.colours(len(names)), strict=True)
  ]
  yield Page(
    "volumes",
    "Volumes",
    "Test volumes slice by slice: image, answer and truth. The front"
    " or the head is up, the patient's right on the left.",
    html=Markup(
      page.render("volumes.html.jinja", volumes=shown, colours=colours)
    ),
  )


def _volume(volume: Volume, source: Slices, count: int) -> dict[str, Any]:
  """What the template shows of a volume."""
  other = [n for n in range(3) if n != source.axis]
  high, wide = (volume.spacing[n] for n in reversed(other))
  slices_of = []
  for n, number in enumerate(volume.numbers):
    grey, answer, truth = (
      slices.seen(x, source.axis, n)
      for x in (volume.grey, volume.answer, volume.truth)
    )
    image = np.repeat(grey[..., None], 3, axis=-1)
    planes = [
      image,
      palette.painted(image, answer, count),
      palette.painted(image, truth, count),
    ]
    joined = np.concatenate(
      [_true_shape(plane, high, wide) for plane in planes], axis=1
    )
    slices_of.append({"number": number, "src": _address(joined)})
  return {"name": volume.name, "slices": slices_of}


def _true_shape(
  plane: Picture, high: float, wide: float
) -> UInt8[np.ndarray, "h w 3"]:
  """A slice whose pixels are square in millimetres."""
  size = np.array([plane.shape[1] * wide, plane.shape[0] * high])
  width, height = np.rint(size * _HIGH / size.max()).astype(int).tolist()
  picture = Image.fromarray(plane)
  shape = (max(width, 1), max(height, 1))
  return np.asarray(picture.resize(shape, Image.Resampling.NEAREST))


def _address(picture: Picture) -> str:
  """A picture as a data URI, so that the page needs no other file."""
  file = io.BytesIO()
  Image.fromarray(picture).save(file, "PNG")
  content = base64.b64encode(file.getvalue()).decode()
  return f"data:image/png;base64,{content}"
