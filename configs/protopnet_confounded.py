"""ProtoPNet on drawn shapes, one of which can be known by a mark.

python train.py --config=configs/protopnet_confounded.py

Test accuracy 0.810, and 0.652 on discs, whose mark is gone there, means of
seeds 0 to 4 after some 26 seconds of processor time each. Once the prototypes
of the mark are thrown out it is 0.855 and 0.888 (docs/interacting.md).

Variant: `:debug` shrinks everything.
"""

from ml_collections import ConfigDict

from protojax.configs import protopnet_planted
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = protopnet_planted.get_config().unlock()
  del config.data["characteristic"]
  config.data.update(name="confounded", image_size=48)
  # A cell sees 15 pixels: the mark, or a part of a shape.
  config.backbone.name = "convnet_local"
  config.prototypes.per_class = 8
  config.pretrain.epochs = 6
  config.joint.update(epochs=10, drop_epochs=7)
  # As after an edit.
  config.last.solver = "convex"
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "debug": {
    **protopnet_planted.VARIANTS["debug"],
    "backbone": {"name": "convnet"},
    "last": {"steps": 10},
  }
}
