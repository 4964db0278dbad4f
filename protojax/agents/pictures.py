"""Pictures as providers send them, and what they are asked about them."""

import base64
import binascii
from collections.abc import Mapping, Sequence
import io
import re

from jaxtyping import UInt8
import numpy as np
from PIL import Image

from protojax.data import images
from protojax.types import UserError


def png(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
  """A file of the same pixels."""
  file = io.BytesIO()
  Image.fromarray(image).save(file, "PNG")
  return file.getvalue()


def decoded(
  name: str, sent: Sequence[str], n: int, size: int
) -> UInt8[np.ndarray, "n S S 3"]:
  """Pictures of base64, scaled to S x S pixels.

  Raises:
    UserError: they are not n, or one is no picture.
  """
  if len(sent) != n:
    raise UserError(f"{name} sent {len(sent)} pictures, and {n} were asked for")
  found = np.zeros((n, size, size, 3), np.uint8)
  for i, text in enumerate(sent):
    try:
      pixels = images.decode(base64.b64decode(text, validate=True))
    except binascii.Error as error:
      raise UserError(f"{name} sent a picture that is not base64") from error
    except ValueError as error:
      raise UserError(f"{name} sent what is no picture: {error}") from error
    if pixels.shape[:2] != (size, size):
      scaled = Image.fromarray(pixels).resize(
        (size, size), Image.Resampling.LANCZOS
      )
      pixels = np.asarray(scaled)
    found[i] = pixels
  return found


def question(text: str) -> str:
  """Of VQAScore (Lin et al., arXiv 2404.01291, section 3)."""
  return f'Does this figure show "{text}"? Please answer yes or no.'


def yes(name: str, likely: Mapping[str, float]) -> float:
  """The probability of "yes" among that of "yes" and "no".

  Args:
    name: of the provider.
    likely: probability of each word that may come first.

  Raises:
    UserError: neither is among them.
  """
  both = {"yes": 0.0, "no": 0.0}
  for word, p in likely.items():
    for said in re.findall(r"[a-z]+", word.casefold())[:1]:
      if said in both:
        both[said] += p
  total = sum(both.values())
  if not total > 0:
    raise UserError(f"{name} answers neither yes nor no")
  return both["yes"] / total
