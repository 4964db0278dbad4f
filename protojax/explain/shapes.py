"""Pictures of what a network sees, in the shape of the image.

A network takes squares. Where an image was squashed into one, a pixel of the
square stands for a place that is wider than high, or higher than wide.
"""

import dataclasses
from typing import Any

from protojax.explain import blocks
from protojax.types import Box


def ratio(stream: Any, index: int) -> float:
  """Width over height of what a network sees of an image, in the image.

  Args:
    stream: of the images.
    index: position of the image in its source.
  """
  whole, size = stream.source[index]["image"].shape, stream.image_size
  frame = stream.resizing.frame(whole, size)
  seen = frame.original(Box(0, 0, size, size), whole)
  return (seen.right - seen.left) / (seen.bottom - seen.top)


def stretched(block: blocks.Block, stretch: float) -> blocks.Block:
  """The same block with its pictures, if it has some, that much wider."""
  if isinstance(block, blocks.Picture):
    return dataclasses.replace(block, stretch=stretch)
  if isinstance(block, blocks.Map) and block.over is not None:
    over = dataclasses.replace(block.over, stretch=stretch)
    return dataclasses.replace(block, over=over)
  if isinstance(block, blocks.Gallery):
    pictures = tuple(
      dataclasses.replace(one, stretch=stretch) for one in block.pictures
    )
    return dataclasses.replace(block, pictures=pictures)
  if isinstance(block, blocks.Regions):
    picture = dataclasses.replace(block.picture, stretch=stretch)
    return dataclasses.replace(block, picture=picture)
  return block


def of_image(
  found: blocks.Explanation, stream: Any, index: int
) -> blocks.Explanation:
  """The explanation of an image, its pictures in the shape of the image.

  Args:
    found: all its pictures are of this image.
    stream: of the images.
    index: position of the image in its source.
  """
  wide = ratio(stream, index)
  drawn = tuple(stretched(block, wide) for block in found.blocks)
  return dataclasses.replace(found, blocks=drawn)
