"""DriveGEN on embedded scenes: what its parts hold, and what they cost.

First train the base, of which all arms are:

python train.py --config=configs/text_to_image_scenes.py:weather \\
  --workdir=runs/weather

Nothing else is trained. The one run of a seed is the base as it is; the seed
draws the scenes, from whose noise every arm begins. An arm is a way to hold
them (`drivegen.ARMS`): keys (GSA), boxes (GSL), both or neither, with growing
weights, in the regions that there are; and neither with other guidance, of
which less costs nothing and keeps what is there. `real` are true scenes in the
conditions.
"""

from collections.abc import Iterator

from benchmarks import drivegen, experiment, harness
from benchmarks.experiment import Found

QUESTION = "What do keys and boxes hold, and what does it cost in condition?"

ARMS = {
  "base": (
    "configs/text_to_image_scenes.py:weather",
    {"init_from": "runs/weather", "steps": 0, "data.test": "test:8"},
  )
}

_ARMS = (drivegen.REAL, *drivegen.ARMS)
FIGURES = {
  f"{arm}: {name}": f"{arm}.{name}"
  for arm in _ARMS
  for name in drivegen.FIGURES
}

SEEDS = (0, 1, 2)

# See `drivegen.measured`.
SETTINGS = {"number": 24, "steps": 16, "guidance": 2.0}

MEASURE = drivegen.measured


def _by_arm(found: Found) -> Iterator[harness.Row]:
  """A row for each way to hold scenes: means and deviations over seeds."""
  columns = experiment.columns(found["base"])
  for arm in _ARMS:
    spreads = {
      name: harness.spread(columns[f"{arm}: {name}"])
      for name in drivegen.FIGURES
    }
    yield {"arm": arm, "seeds": len(found["base"]), **spreads}


TABLE = _by_arm
