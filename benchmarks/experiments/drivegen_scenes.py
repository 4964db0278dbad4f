"""A detector on embedded road scenes: what images of other conditions bring.

First train the base that draws them:

python train.py --config=configs/text_to_image_driving.py \\
  --workdir=runs/driving

All arms see the same 300 scenes and take as many steps. "clear" sees them
clear alone; the others in snow, in fog and at night, too: drawn by the base
with nothing held, drawn by DriveGEN, and as they truly look, which no drawn
image can better. Tested on other scenes, each in all conditions. "shifted" is
the mean over those but clear; scenes with noise are shown to no arm. Images are
drawn once for all seeds, in --data (`roads.make`).
"""

from pathlib import Path

from benchmarks import roads
from benchmarks.experiment import ROOT
from benchmarks.roads import Drawn

QUESTION = (
  "What do images of other conditions bring a detector on clear scenes?"
)

_FILE = "configs/drivegen_scenes.py"
_SCENES = 300
_SMALL = {"steps": 300, "batch_size": 16, "data.scenes": (_SCENES, 60)}
_ROOT = "drivegen_scenes"

# With the weights that held most in drivegen_weather, and a guidance that kept
# most things there without them.
_DRAWN = {
  "clear and unguided": Drawn(0, 0, guidance=2, steps=16),
  "clear and DriveGEN": Drawn(1000, 16, guidance=2, steps=16),
}

ARMS = {
  "clear": (_FILE, _SMALL),
  **{
    arm: (_FILE, {**_SMALL, "data.root": _ROOT, "data.added": drawn.folder})
    for arm, drawn in _DRAWN.items()
  },
  "true conditions": (
    _FILE,
    {**_SMALL, "data.conditions": ("clear", *roads.CONDITIONS)},
  ),
}

FIGURES = {
  "AP 2D, clear": "ap_2d_clear",
  "AP 2D, shifted": "ap_2d_shifted",
  "AP BEV, clear": "ap_bev_clear",
  "AP BEV, shifted": "ap_bev_shifted",
  "AP 3D, clear": "ap_3d_clear",
  "AP 3D, shifted": "ap_3d_shifted",
}

SEEDS = (0, 1, 2)


def before(arm: str, data: Path) -> None:
  """Draws the images of an arm."""
  if arm in _DRAWN:
    base = ROOT / "runs" / "driving"
    roads.make(_DRAWN[arm], base, data / _ROOT, _SCENES)


BEFORE = before
