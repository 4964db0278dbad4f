"""The eight emotions of FERPlus: their order, other names, and places.

Class maps of other data sets are files, since each numbers its classes in its
own way; all are brought to the order of `NAMES` by name.
"""

from collections.abc import Mapping

from protojax import json_files
from protojax.types import UserError

# Name -> valence and arousal, from the circumplex model of affect. The paper
# does not give them: they are a design of ours, and a config can change them.
ANCHORS: Mapping[str, tuple[float, float]] = {
  "neutral": (0.0, 0.0),
  "happiness": (0.8, 0.4),
  "surprise": (0.4, 0.8),
  "sadness": (-0.8, -0.4),
  "anger": (-0.5, 0.8),
  "disgust": (-0.8, 0.4),
  "fear": (-0.6, 0.7),
  "contempt": (-0.4, 0.0),
}
# In the order of FERPlus's own columns.
NAMES = tuple(ANCHORS)
_OTHER_NAMES = {
  "happy": "happiness",
  "surprised": "surprise",
  "sad": "sadness",
  "angry": "anger",
  "disgusted": "disgust",
  "fearful": "fear",
  "afraid": "fear",
}


def known(name: str) -> str | None:
  """The name of `NAMES` that a word means, or None."""
  word = name.strip().lower()
  word = _OTHER_NAMES.get(word, word)
  return word if word in ANCHORS else None


def index(name: str, where: str) -> int:
  """The number of an emotion.

  Args:
    name: of it, or one of its other names.
    where: it stands, for the message.

  Raises:
    UserError: there is no such emotion.
  """
  word = known(name)
  if word is None:
    raise UserError(
      f"{where}: {name!r} is none of {', '.join(NAMES)}; leave these rows out,"
      " or name the class in a class map (--config.data.class_map=FILE)"
    )
  return NAMES.index(word)


def class_map(path: str) -> dict[int, int]:
  """Number of a class in a data set -> its number in `NAMES`.

  Args:
    path: of a JSON file, {"0": "neutral", ...} or {"neutral": 0, ...}. '' is
      the order of `NAMES`.

  Raises:
    UserError: the file is not that, or two of its lines contradict.
  """
  if not path:
    return dict(enumerate(range(len(NAMES))))
  found: dict[int, int] = {}
  content = json_files.read_json(path, dict[str, str | int])
  for key, value in content.items():
    number, name = (key, value) if isinstance(value, str) else (value, key)
    try:
      at = int(number)
    except ValueError as error:
      raise UserError(
        f"{path}: {key!r}: {value!r} is no number and name; expected"
        ' {"0": "neutral", ...} or {"neutral": 0, ...}'
      ) from error
    if at in found:
      raise UserError(f"{path} names two classes {at}; each number stands once")
    found[at] = index(name, path)
  return found


def by_map(number: int, numbers: Mapping[int, int], where: str) -> int:
  """The number in `NAMES` of a data set's class.

  Raises:
    UserError: its class map has no such class.
  """
  if number not in numbers:
    raise UserError(
      f"{where}: class {number} is not in the class map, which has"
      f" {', '.join(map(str, sorted(numbers)))}: give the data set's own map"
      " with --config.data.class_map=FILE"
    )
  return numbers[number]
