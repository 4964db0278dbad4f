"""A text-to-image model on embedded scenes: the base of methods that steer one.

python train.py --config=configs/text_to_image_scenes.py

python -m protojax sample --prompt "a red cup and a blue striped cat"

One or two things of a colour and a texture on grey ground, 32 x 32 pixels. A
fifth of the combinations of colour and type is held out of training;
`data.test=unseen:N` tests on scenes that have one of those.

Variants: `:weather` has scenes in snow, fog and night, too; and those of
`text_to_image_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import text_to_image_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded scenes."""
  config = text_to_image_folder.get_config().unlock()
  config.steps = 4000
  config.data.update(
    name="captioned_scenes",
    train="train:20000",
    test="test:200",
    resize="squash",
    # Things of a scene, at least and at most.
    things=(1, 2),
    weather=False,
    held_out=True,
  )
  config.text.update(length=20, channels=64)
  config.network.update(
    channels=96, depth=4, patch=4, unroll=4, variance=0.2, refine=16
  )
  config.optimizer.update(rate=1e-3, cosine=True, warmup=200, average=0.998)
  config.process.mean = 0.8
  config.sample.update(steps=25)
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "weather": {"data": {"weather": True}},
  **text_to_image_folder.VARIANTS,
}
