"""Pictures of a square in the shape of what was squashed into it."""

import types

import numpy as np

from protojax.data.resizing import SQUASH
from protojax.explain import blocks, shapes
from tests.explain import block_fakes


def test_all_pictures_of_an_image_get_its_shape():
  source = [{"image": np.zeros((20, 30, 3), np.uint8)}]
  stream = types.SimpleNamespace(source=source, image_size=16, resizing=SQUASH)
  assert shapes.ratio(stream, 0) == 1.5
  made = block_fakes.explanation()
  found = shapes.of_image(made, stream, 0)
  stretches = []
  for block in found.blocks:
    if isinstance(block, blocks.Picture):
      stretches.append(block.stretch)
    elif isinstance(block, blocks.Map) and block.over is not None:
      stretches.append(block.over.stretch)
    elif isinstance(block, blocks.Gallery):
      stretches += [picture.stretch for picture in block.pictures]
    elif isinstance(block, blocks.Regions):
      stretches.append(block.picture.stretch)
  assert len(stretches) > 4
  assert set(stretches) == {1.5}
  assert [type(b) for b in found.blocks] == [type(b) for b in made.blocks]
