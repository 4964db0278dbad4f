"""Checks the config, and makes of it the parts of the method."""

from ml_collections import ConfigDict

from protojax import ranges
from protojax.diffusion import settings as diffusion
from protojax.diffusion.guidable import GuidableDiffusion
from protojax.methods.vsc import references
from protojax.methods.vsc.encoder import Lower, Sentence, Upper
from protojax.methods.vsc.fusion import Fusion
from protojax.methods.vsc.network import SearchNetwork
from protojax.types import UserError

# Which prototype is told for a pair: its own, that of another pair of the same
# text, or nothing in its place.
TOLD = ("own", "others", "none")
# Of the config's numbers that the base has not, which compares its own.
RANGES = {
  "pairs.most": ranges.whole(1, 1_000),
  "references.count": ranges.whole(1, references.MOST),
  "references.keep": ranges.whole(1, references.MOST),
  "references.most": ranges.whole(1, 1_000_000),
  "references.steps": ranges.whole(1, 100_000),
  "references.guidance": ranges.Range(0.0, 1e3),
  "encoder.channels": ranges.CHANNELS,
  "encoder.vector": ranges.CHANNELS,
  "encoder.steps": ranges.whole(0, 2**31 - 1),
  "encoder.rate": ranges.RATE,
  "encoder.temperature": ranges.Range(0.0, 1e3, above=True),
  "localisation.weight": ranges.WEIGHT,
}


def require(config: ConfigDict) -> None:
  """Refuses settings that do not fit together.

  Raises:
    UserError: says which.
  """
  ranges.require(config, RANGES)
  r = config.references
  diffusion.require_choice(config, "references.told", TOLD)
  if r.keep > r.count:
    raise UserError(
      f"--config.references.keep={r.keep}: of the"
      f" --config.references.count={r.count} references of a thing no more can"
      " be kept"
    )


def network(config: ConfigDict, model: GuidableDiffusion) -> SearchNetwork:
  """The parts.

  Args:
    config: of the run.
    model: the base.
  """
  e = config.encoder
  return SearchNetwork(
    model,
    config.data.image_size,
    config.space.channels,
    Lower(e.channels),
    Upper(e.vector),
    Sentence(e.vector),
    Fusion(config.fusion.residual),
    (config.text.length, config.text.channels),
  )
