"""Where the authors look for the OPDs of their four devices.

github.com/Danaroth83/irca, data/characterization. The step of the OPDs is
`opd_step` of each acquisition's options.json.
"""

from typing import NamedTuple

from protojax.types import UserError


class Preset(NamedTuple):
  """The window of the periodogram, in shares of the largest OPD.

  Attributes:
    minimum: the smallest OPD.
    span: how far from the nominal OPD to look.
  """

  minimum: float
  span: float


PRESETS = {
  "": Preset(0.01, 0.1),
  "imspoc_uv_1": Preset(0.02, 0.1),
  "imspoc_uv_2": Preset(0.01, 0.05),
  "imagaz_1": Preset(0.01, 0.1),
  "wfai_1": Preset(0.01, 0.07),
}


def load(name: str, minimum: float, span: float) -> Preset:
  """The window of a device, and what a config says in its place.

  Args:
    name: of the device; '': none of the four.
    minimum, span: in place of the preset's; below 0: the preset's.

  Raises:
    UserError: there is no such preset.
  """
  if name not in PRESETS:
    known = ", ".join(filter(None, PRESETS))
    raise UserError(
      f"--config.preset={name}: choose one of {known}, or leave it empty."
    )
  preset = PRESETS[name]
  return Preset(
    preset.minimum if minimum < 0 else minimum,
    preset.span if span < 0 else span,
  )
