"""What is said of an image with labelled objects, as it is and as wanted."""

from collections.abc import Sequence
import dataclasses

from protojax.diffusion.guidable import GuidableDiffusion
from protojax.shown import shown
from protojax.types import UserError


@dataclasses.dataclass(frozen=True)
class Prompts:
  """Texts in which {objects} and {condition} are filled in.

  Attributes:
    example: of the image that is given.
    wanted: of the image that is drawn.
    negative: what it shall not look like.
    each: how one object is named, by its {object}.
    between: stands between two objects.
  """

  example: str
  wanted: str
  negative: str
  each: str = "{object}"
  between: str = ", "

  def of_example(self, names: Sequence[str]) -> str:
    """The text of an image with objects of these names."""
    return self.example.format(objects=self._listed(names))

  def of_wanted(self, names: Sequence[str], condition: str) -> str:
    """The same in a condition, such as "snow"."""
    return self.wanted.format(objects=self._listed(names), condition=condition)

  def _listed(self, names: Sequence[str]) -> str:
    named = (self.each.format(object=words(name)) for name in sorted(names))
    return self.between.join(named)


# DriveGEN's own (config/KITTI.yaml and libs/utils/utils.py of its code).
PAPER = Prompts(
  "A photo of {objects}, with a simple background, best quality, extremely"
  " detailed.",
  "A photo of {objects}, in the {condition}, best quality, extremely detailed.",
  "longbody, lowres, bad anatomy, bad hands, missing fingers, extra digit,"
  " fewer digits, cropped, worst quality, low quality, irregular car,"
  " incomplete car",
)
# Of models that know few words: those of the embedded scenes.
PLAIN = Prompts(
  "{objects}", "{objects} in the {condition}", "", "a {object}", " and "
)


def words(name: str) -> str:
  """A name of a label as a text: "Person_sitting" -> "person sitting"."""
  return name.replace("_", " ").lower()


def fitting(model: GuidableDiffusion) -> Prompts:
  """DriveGEN's prompts, if the model knows their words, else the plain ones."""
  texts = [PAPER.of_example(()), PAPER.of_wanted((), ""), PAPER.negative]
  try:
    model.caption(texts)
  except UserError:
    return PLAIN
  return PAPER


def require(
  model: GuidableDiffusion,
  prompts: Prompts,
  names: Sequence[str],
  conditions: Sequence[str],
) -> None:
  """Refuses objects and conditions that the model cannot read.

  Args:
    model: that is steered.
    prompts: in which they stand.
    names: of all objects.
    conditions: that are asked for.

  Raises:
    UserError: says which, and what the model knows.
  """
  for name in names:
    _require(model, prompts.of_example([name]), f"objects called {shown(name)}")
  for condition in conditions:
    text = prompts.of_wanted([], condition)
    _require(model, text, f"the condition {shown(condition)}")


def _require(model, text, what):
  try:
    model.caption([text])
  except UserError as error:
    raise UserError(f"the model never saw {what}: {error}") from error
