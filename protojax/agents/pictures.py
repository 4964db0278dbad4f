"""Pictures as providers send them, and what they are asked about them."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
import io
import re

from jaxtyping import Float, UInt8
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


def sent(image: UInt8[np.ndarray, "H W 3"]) -> str:
  """A PNG of the same pixels, in base64."""
  return base64.b64encode(png(image)).decode("ascii")


def judged(
  name: str,
  images: UInt8[np.ndarray, "n H W 3"],
  texts: Sequence[str],
  ask: Callable[[str, str], Mapping[str, float]],
) -> Float[np.ndarray, " n"]:
  """How probable "yes" is, of "yes" and "no", if a picture shows its text.

  Args:
    name: of the provider.
    images: what is judged.
    texts: of each.
    ask: takes a picture of `sent` and the question; gives the probability of
      each word that may come first.

  Raises:
    UserError: neither is among the words.
  """
  both = zip(images, texts, strict=True)
  return np.array(
    [_yes(name, ask(sent(image), _question(text))) for image, text in both],
    float,
  )


def _question(text: str) -> str:
  """Of VQAScore (Lin et al., arXiv 2404.01291, section 3)."""
  return f'Does this figure show "{text}"? Please answer yes or no.'


def _yes(name: str, likely: Mapping[str, float]) -> float:
  both = {"yes": 0.0, "no": 0.0}
  for word, p in likely.items():
    for said in re.findall(r"[a-z]+", word.casefold())[:1]:
      if said in both:
        both[said] += p
  total = sum(both.values())
  if not total > 0:
    raise UserError(f"{name} answers neither yes nor no")
  return both["yes"] / total
