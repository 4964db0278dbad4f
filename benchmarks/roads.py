"""What a detector learns from beside clear scenes: the road drawn anew.

The scenes of `configs/drivegen_scenes.py` are written as a folder of KITTI's
layout, and `generate` draws them in other conditions with a run of
configs/text_to_image_driving.py. The name of a folder of images tells how they
were drawn, so that a line of an experiment rests on it. What stands is not
drawn again; images of another base are refused.
"""

from pathlib import Path
from typing import NamedTuple

from protojax import cli
from protojax.datasets import driving_scenes, driving_world

# Those that are asked for; scenes with noise are shown to none.
CONDITIONS = ("snow", "fog", "night")
_ROAD = "road"
_BATCH = 30  # images that are drawn at once


class Drawn(NamedTuple):
  """How scenes are drawn anew; see `generate`.

  Attributes:
    semantic, shallow: weights of keys and of boxes.
    guidance: weight of the text.
    steps: of the sampler.
  """

  semantic: float
  shallow: float
  guidance: float
  steps: int

  @property
  def folder(self) -> str:
    """Name of the folder of the images."""
    return "-".join(f"{k}_{x:g}" for k, x in self._asdict().items())


def make(drawn: Drawn, base: Path, root: Path, scenes: int) -> None:
  """Draws training scenes anew, as many as are missing.

  Args:
    drawn: how.
    base: a run of configs/text_to_image_driving.py.
    root: folder of the road, and of a folder for each `Drawn`.
    scenes: to train on.

  Raises:
    SystemExit: the base cannot draw them; `generate` has said why.
  """
  road = root / _ROAD
  last = road / "conditions" / driving_world.CONDITIONS[-1] / "image_2"
  if not (last / f"{scenes - 1:06d}.png").exists():
    # One to test on is the least; it is drawn, too, and learnt by none.
    driving_scenes.prepare(
      f"{scenes}:1", str(road), lambda count: None, lambda: None
    )
  values = drawn._asdict()
  arguments = [
    f"--workdir={base}",
    f"--images={road / 'training' / 'image_2'}",
    f"--labels={road / 'training' / 'label_2'}",
    f"--condition={','.join(CONDITIONS)}",
    f"--output={root / drawn.folder}",
    f"--batch-size={_BATCH}",
    *(f"--{name}={value:g}" for name, value in values.items()),
  ]
  if status := cli.run("generate", arguments, "python -m protojax"):
    raise SystemExit(status)
