"""Presets: lists of modifications, which are the columns of tables of scores.

A `Preset` is stored with its scores, because scores of two presets cannot be
compared. `load` finds the presets of this module, reads JSON files, and makes
sweeps over the strength of one modification.
"""

from collections.abc import Sequence
import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jaxtyping import Bool, Float
import numpy as np

from protojax.modify import preset_file
from protojax.modify.modification import CHANGES, Modification, require_known
from protojax.shown import shown
from protojax.types import ArrayLike, UserError

# "fast" modifies images at the size of the network's input, on the device;
# "reference" at their own size, before they are resized, as the paper's code.
MODES = ("fast", "reference")
# "reference" saves all images as JPEG and reads them again, as the paper's code
# does.
CODECS = ("none", "reference")

# Qualities of that JPEG, the defaults of the two libraries: OpenCV saves the
# originals and its own changes, Pillow all other changes.
_OPENCV, _PILLOW = 95, 75
_CHANGED_BY_OPENCV = ("warp", "bars", "texture")
# Changes of what a grey image does not have.
_OF_COLOUR = ("hue", "saturation")
# Each modification is another copy of all images, and a part of the compiled
# program.
MOST = 100
# Characters of a name of a modification, and of a preset, which may list the
# strengths of a sweep.
_LONGEST, _LONGEST_PRESET = 100, 2000


@dataclasses.dataclass(frozen=True)
class Preset:
  """Modifications and how they are scored; hashable.

  Attributes:
    name: its name.
    modifications: the axis m of all scores; the first is "identity", the
      control that changes nothing.
    own_cell: compare with the nearest cell of the modified image itself
      instead of that of the unchanged one.
    weighted: weigh images by their similarity in the global scores instead of
      taking the plain mean.
    mode: one of `MODES`.
    jpeg: JPEG quality of the unchanged image; None for no JPEG.
    sides: characteristic -> modifications that change it in several
      directions. Its score is the largest of theirs.

  Raises:
    UserError: no control, more than `MOST` modifications, two of one name, a
      name that cannot be printed, no such mode, or JPEG in another mode than
      "reference".
  """

  name: str
  modifications: tuple[Modification, ...]
  own_cell: bool = False
  weighted: bool = True
  mode: str = "fast"
  jpeg: int | None = None
  # Not shown: the names of the modifications tell it, and figures are stored
  # by this text.
  sides: tuple[tuple[str, tuple[str, ...]], ...] = dataclasses.field(
    default=(), repr=False
  )

  def __post_init__(self):
    if len(self.modifications) > MOST + 1:
      raise UserError(
        f"preset {self.name:.40} has {len(self.modifications) - 1}"
        f" modifications; use at most {MOST}, and explain the others in"
        " further runs"
      )
    _require_printable(self.name, _LONGEST_PRESET)
    for name in self.names:
      _require_printable(name, _LONGEST)
    first = self.modifications[:1]
    if [(m.name, m.change) for m in first] != [("identity", "identity")]:
      raise UserError(
        f"preset {self.name:.80}: its first modification must be identity, the"
        " control, which changes nothing; the modifications are"
        f" {', '.join(self.names) or 'none':.200}"
      )
    twice = sorted({n for n in self.names if self.names.count(n) > 1})
    if twice:
      raise UserError(
        f"preset {self.name:.80}: several modifications are called"
        f" {', '.join(twice):.200}; give each a name of its own"
      )
    require_known("mode", self.mode, MODES)
    if self.mode != "reference" and self.codec != "none":
      raise UserError(
        f"codec {self.codec} in mode {self.mode}: images go through JPEG at"
        " their own size, so use mode reference with it"
      )

  @property
  def names(self) -> tuple[str, ...]:
    """Names of the scores, axis m: the modifications, and what has sides.

    The control is first, then what has sides, so that the first of equal
    scores is that of a characteristic and not that of its side.
    """
    first, *others = (m.name for m in self.modifications)
    return (first, *(name for name, _ in self.sides), *others)

  def scores(self, delta: Float[ArrayLike, "b n ..."]) -> Any:
    """Scores [b m ...] in the order of `names`.

    Args:
      delta: of each modification.
    """
    if not self.sides:
      return delta
    own = [m.name for m in self.modifications]
    largest = [
      jnp.max(delta[:, np.array([own.index(s) for s in sides])], axis=1)
      for _, sides in self.sides
    ]
    return jnp.concatenate(
      [delta[:, :1], jnp.stack(largest, axis=1), delta[:, 1:]], axis=1
    )

  def seen(self, grey: bool) -> Bool[np.ndarray, " m"]:
    """Which of `names` can change an image, which may be a grey one."""
    kept = self.of_grey().names if grey else self.names
    return np.array([name in kept for name in self.names])

  def of_grey(self) -> "Preset":
    """The preset without what a grey image does not have."""
    kept = [m for m in self.modifications if m.change not in _OF_COLOUR]
    names = {m.name for m in kept}
    return dataclasses.replace(
      self,
      modifications=tuple(kept),
      sides=tuple(one for one in self.sides if names.issuperset(one[1])),
    )

  @property
  def codec(self) -> str:
    """One of `CODECS`."""
    qualities = {self.jpeg, *(m.jpeg for m in self.modifications)}
    return "none" if qualities == {None} else "reference"

  def record(self) -> dict[str, Any]:
    """The preset in JSON, stored with its scores so that none are mixed."""
    return {
      "name": self.name,
      "mode": self.mode,
      "codec": self.codec,
      "own_cell": self.own_cell,
      "weighted": self.weighted,
      "modifications": [
        {"name": m.name, "change": m.change, **m.settings}
        for m in self.modifications
      ],
    }


def _require_printable(name: str, most: int) -> None:
  """Requires a name that can stand in tables, files and on pages."""
  fits = 0 < len(name) <= most
  if not fits or not name.isprintable() or name != name.strip():
    raise UserError(
      f"{shown(name)} cannot be the name of a preset or a modification: use 1"
      f" to {most} characters that can be printed, without blanks at its ends"
    )


def _five(**changes: Modification) -> tuple[Modification, ...]:
  """Identity, the paper's five and brightness, some of them replaced.

  The strengths are those of the reference implementation. It also computes
  brightness, but does not count it as a characteristic.
  """
  reference = (
    Modification("identity", "identity"),
    Modification("contrast", "contrast", (0.45,)),
    Modification("saturation", "saturation", (0.7,)),
    Modification("hue", "hue", (0.1,)),
    Modification("shape", "warp", (4.0, 0.05)),
    Modification("texture", "texture", (4.0,)),
    Modification("brightness", "brightness", (0.8,)),
  )
  return tuple(changes.get(m.name, m) for m in reference)


REFERENCE = Preset("reference", _five())

# Here contrast leaves the chroma unchanged, and saturation is as strong as
# contrast. In the reference, contrast shrinks the chroma to 0.45 and saturation
# only to 0.7, so a model that uses saturation seems to use contrast.
BALANCED = Preset(
  "balanced",
  _five(
    contrast=Modification("contrast", "contrast_luma", (0.45,)),
    saturation=Modification("saturation", "saturation", (0.45,)),
  ),
)

# The paper's first version (arXiv 2011.02863v1), from its notebooks, which draw
# new bars for every image. Brightness came later.
V1 = Preset(
  "v1",
  _five(
    contrast=Modification("contrast", "contrast", (0.5,)),
    saturation=Modification("saturation", "saturation", (0.5,)),
    hue=Modification("hue", "hue", (0.5,)),
    shape=Modification("shape", "bars", (10, 25)),
    texture=Modification("texture", "texture", (10.0, 11, 21)),
  ),
  own_cell=True,
  weighted=False,
)

# Each characteristic changed in two directions: an image may be like a
# prototype by what it lacks. What is smooth has no grain to lose, but added
# grain makes it another; what is pale cannot get much paler. No change is one
# of another characteristic: grain leaves the contrast. The first side is that
# of "balanced". The second moves the features of a generic network as far as
# the first, to two digits (benchmarks/strengths.py).
TWO_SIDED = Preset(
  "two_sided",
  (
    Modification("identity", "identity"),
    Modification("less contrast", "contrast_luma", (0.45,)),
    Modification("more contrast", "contrast_luma", (2.0,)),
    Modification("less saturation", "saturation", (0.45,)),
    Modification("more saturation", "saturation", (1.7,)),
    Modification("hue forward", "hue", (0.1,)),
    Modification("hue back", "hue", (-0.14,)),
    Modification("long waves", "warp", (4.0, 0.05)),
    Modification("short waves", "warp", (2.1, 0.1)),
    Modification("less texture", "texture", (4.0,)),
    Modification("more texture", "grain", (0.21,)),
    Modification("brightness", "brightness", (0.8,)),
  ),
  sides=(
    ("contrast", ("less contrast", "more contrast")),
    ("saturation", ("less saturation", "more saturation")),
    ("hue", ("hue forward", "hue back")),
    ("shape", ("long waves", "short waves")),
    ("texture", ("less texture", "more texture")),
  ),
)

PRESETS = {
  preset.name: preset for preset in (REFERENCE, BALANCED, V1, TWO_SIDED)
}
# Of sentences, and wherever none is named.
DEFAULT = TWO_SIDED
# Modification -> the characteristic that it is a side of.
SIDES = {side: name for name, sides in TWO_SIDED.sides for side in sides}


def load(preset: str, mode: str = "fast", codec: str = "none") -> Preset:
  """Loads a preset by its name, from a JSON file, or a sweep over strengths.

  Args:
    preset: one of `PRESETS`; a file as `preset_file` describes it; or
      "contrast=0.2,0.45,0.7", one modification at several strengths.
    mode: one of `MODES`.
    codec: one of `CODECS`. With "reference" there are two controls, one for
      each quality: "identity" for images that Pillow saves, "identity_95" for
      images that OpenCV saves.

  Raises:
    UserError: there is no such preset, or its values are wrong.
  """
  require_known("mode", mode, MODES)
  require_known("codec", codec, CODECS)
  found = dataclasses.replace(_find(preset), mode=mode)
  return found if codec == "none" else _saved(found)


def over(
  modification: Modification, strengths: Sequence[float | int]
) -> Preset:
  """A preset of one modification at several strengths."""
  texts = [f"{strength:g}" for strength in strengths]
  return Preset(
    f"{modification.name}={','.join(texts)}",
    (
      Modification("identity", "identity"),
      *(
        dataclasses.replace(
          modification.at(strength), name=f"{modification.name} {text}"
        )
        for strength, text in zip(strengths, texts, strict=True)
      ),
    ),
  )


def _find(preset: str) -> Preset:
  if preset in PRESETS:
    return PRESETS[preset]
  if preset.endswith(".json"):
    return Preset(**preset_file.read(Path(preset)))
  name, given, numbers = preset.partition("=")
  if not given:
    forms = "FILE.json", "contrast=0.2,0.5"
    require_known("preset", preset, (*PRESETS, *forms))
  return _over(name, numbers)


def _over(name: str, numbers: str) -> Preset:
  known = {m.name: m for m in REFERENCE.modifications}
  require_known("modification", name, dict.fromkeys((*known, *CHANGES)))
  try:
    strengths = [float(number) for number in numbers.split(",")]
  except ValueError as error:
    raise UserError(
      f"{name}={numbers}: strengths are numbers, as in {name}=0.2,0.5"
    ) from error
  first = known.get(name) or Modification(name, name, (strengths[0],))
  return over(first, strengths)


def _saved(preset: Preset) -> Preset:
  """The same preset with every image saved as JPEG, as by the paper's code."""
  modifications = (
    dataclasses.replace(
      m, jpeg=_OPENCV if m.change in _CHANGED_BY_OPENCV else _PILLOW
    )
    for m in preset.modifications
  )
  control = Modification(f"identity_{_OPENCV}", "identity", jpeg=_OPENCV)
  return dataclasses.replace(
    preset, modifications=(*modifications, control), jpeg=_OPENCV
  )
