"""VSC on embedded scenes, its ablations, and its base; docs/vsc.md.

First train the base, of which the arms are:

python train.py --config=configs/text_to_image_scenes.py --workdir=runs/scenes

The arm "base" is VSC before its fusion has learned anything, which draws as the
base; "shuffled" tells the prototype of another thing of the same caption.
"""

from benchmarks import binding

QUESTION = "Do prototypes of things drawn alone bind attributes to them?"

_FILE = "configs/vsc_scenes.py"
_SMALL = {"base": "runs/scenes", "steps": 500, "data.test": "test:50"}

ARMS = {
  "base": (
    _FILE,
    {**_SMALL, "steps": 0, "encoder.steps": 0, "references.told": "none"},
  ),
  "words alone": (f"{_FILE}:text", _SMALL),
  "VSC": (_FILE, _SMALL),
  "without the localisation loss": (f"{_FILE}:unlocalised", _SMALL),
  "encoder frozen": (f"{_FILE}:frozen", _SMALL),
  "shuffled": (f"{_FILE}:shuffled", _SMALL),
}

FIGURES = {**binding.FIGURES, **binding.BEST}

SEEDS = (0, 1, 2)

# See `binding.measured`.
SETTINGS = {"images": 40}

MEASURE = binding.measured
