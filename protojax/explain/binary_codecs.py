"""Codecs of pictures and maps: many numbers that nobody reads by eye.

A picture is a PNG file, a map its float32 numbers, both in base64.
"""

import base64
import binascii
import io

from jaxtyping import Float32, UInt8
import numpy as np
from PIL import Image

from protojax.explain.codecs import Json, checked


def _png(picture: UInt8[np.ndarray, "H W 3"]) -> str:
  file = io.BytesIO()
  Image.fromarray(picture).save(file, "PNG")
  return base64.b64encode(file.getvalue()).decode("ascii")


def _pixels(text: str) -> UInt8[np.ndarray, "H W 3"]:
  try:
    with Image.open(io.BytesIO(_bytes(text)), formats=["PNG"]) as image:
      return np.asarray(image.convert("RGB"))
  # As in `data.images`, a broken file raises many errors, which mean the same.
  except Exception as error:
    raise ValueError from error


def _bytes(text: str) -> bytes:
  try:
    return base64.b64decode(text, validate=True)
  except binascii.Error as error:
    raise ValueError from error


PNG = checked(
  "the base64 of a PNG file",
  (str,),
  {
    "type": "string",
    "contentEncoding": "base64",
    "contentMediaType": "image/png",
  },
  _png,
  _pixels,
)


def _grid(values: Float32[np.ndarray, "h w"]) -> Json:
  data = np.ascontiguousarray(values, "<f4").tobytes()
  return {
    "shape": list(values.shape),
    "float32": base64.b64encode(data).decode("ascii"),
  }


def _values(value: Json) -> Float32[np.ndarray, "h w"]:
  if value.keys() != {"shape", "float32"}:
    raise ValueError
  shape, text = value["shape"], value["float32"]
  if not (isinstance(shape, list) and isinstance(text, str)):
    raise ValueError
  if len(shape) != 2 or not all(type(n) is int and n >= 0 for n in shape):
    raise ValueError
  values = np.frombuffer(_bytes(text), "<f4")
  return values.astype(np.float32).reshape(shape)


# Many numbers of which few are read by eye; nan is kept.
GRID = checked(
  "an object with shape, two whole numbers, and float32, the base64 of as many"
  " numbers",
  (dict,),
  {
    "type": "object",
    "properties": {
      "shape": {
        "type": "array",
        "items": {"type": "integer", "minimum": 0},
        "minItems": 2,
        "maxItems": 2,
      },
      "float32": {"type": "string", "contentEncoding": "base64"},
    },
    "required": ["shape", "float32"],
    "additionalProperties": False,
    "description": "row by row, little-endian",
  },
  _grid,
  _values,
)
