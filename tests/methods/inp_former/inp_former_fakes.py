"""INP-Former on embedded textures, shrunk."""

from configs import inp_former_textures
from protojax import methods


def load(**changes):
  config = inp_former_textures.get_config("debug").unlock()
  config.update_from_flattened_dict(changes)
  return methods.load(config.lock())
