"""The config of the toy."""

from toyshop.swirl import config as of_swirl


def get_config(variants=""):
  """The config, on vectors."""
  config = of_swirl.get_config(variants).unlock()
  config.method = "toyshop.means.method"
  config.data.name = "toyshop.vectors"
  del config.data["image_size"]
  return config.lock()
