"""ST-ProtoPNet on pasted pieces of photographs: known concepts in known places.

python train.py --config=configs/st_protopnet_composites.py

The data and the backbone of `csr_composites.py`, so that methods compare.
Support prototypes do not keep to the pieces more than trivial ones: of those
taken from images that have a piece 0.34 lie on one, of the trivial ones 0.64
(pieces cover 0.18 of such images). Their heat is broader: more of it on the
pieces (CH 0.68, trivial 0.47) and about as much off them (OIRR 0.93, 1.13),
overlap 0.19 against 0.25. Means of seeds 0, 1, 2 (the experiment
st_protopnet_objects, benchmarks/results.py).

Variant: `:debug` shrinks everything and takes random weights.
"""

from ml_collections import ConfigDict

from protojax.configs import st_protopnet_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = st_protopnet_folder.get_config().unlock()
  config.data.update(name="composites", image_size=96, augment="flip")
  # How often the false cue tells the truth in training.
  config.data.tag = 0.9
  config.backbone.name = "efficientnet_lite0_stride16"
  return apply(config, variants, VARIANTS)


_DEBUG = st_protopnet_folder.VARIANTS["debug"]
VARIANTS = {
  "debug": {**_DEBUG, "data": {**_DEBUG["data"], "name": "composites"}}
}
