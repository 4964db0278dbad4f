"""The config of the toy."""

from toyshop.swirl import config as of_swirl


def get_config(variants=""):
  """The config, on the images of another toy."""
  config = of_swirl.get_config(variants).unlock()
  config.method = "toyshop.painter.method"
  return config.lock()
