"""A backbone of one's own: CLIP's visual tower, in small."""

import dataclasses

from protojax.backbones import vit

NAMES = ("tower",)


def load(name):
  """Three blocks of 64 channels; patches of 4 pixels, 9 on a side."""
  del name
  mini, large = vit.load("vit_mini_patch4"), vit.load("clip_large_patch14")
  module = mini.module.clone(clip=True)
  return dataclasses.replace(mini, module=module, layouts=large.layouts)
