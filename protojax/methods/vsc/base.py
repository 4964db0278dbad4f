"""The base: a trained text-to-image run that the method steers, frozen.

The network is built from the method's own config, which a base must fit, so
that a run needs its base no more once it has begun: its weights are an asset.
"""

from collections.abc import Mapping
import os
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from protojax import methods, parallel, typed
from protojax.diffusion.guidable import GuidableDiffusion
from protojax.engine import workdir
from protojax.engine.assets import Asset
from protojax.engine.checkpoint import Checkpoints, unflatten
from protojax.methods.base import needed
from protojax.types import PyTree, UserError

METHOD = "text_to_image"
# What makes the base's network; "words" is but a limit.
_GROUPS = ("network", "text", "space", "process")
_FREE = ("text.words", "network.unroll", "network.remat")


class Base:
  """The base of a run.

  Attributes:
    method: the base's, with data and words of the run.
    model: as it is steered.
  """

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None
  ) -> None:
    """Reads the base's config, but no weights.

    Args:
      config: of the run; "base" is the folder of the base's run, '' for one
        with random weights, to try things out.
      class_names: the words of a trained run; None: those of the base.

    Raises:
      UserError: there is no such run, it is of another method, or does not fit.
    """
    self._folder = (
      Path(os.path.expanduser(config.base)) if config.base else None
    )
    if class_names is None and self._folder is not None:
      theirs = workdir.load_config(self._folder, methods.later)
      _require_fit(self._folder, theirs, config)
      class_names = workdir.class_names(self._folder)
    own = config.copy_and_resolve_references().unlock()
    own.method = METHOD
    self.method: Any = methods.load(own.lock(), class_names)
    self.model: GuidableDiffusion = needed(self.method, "guidable")
    self._seed = config.seed

  @property
  def asset(self) -> Asset:
    """Its averaged weights, which are kept beside the run."""
    return Asset(self._weights, self._shapes, kept=True)

  def _shapes(self) -> PyTree:
    def weights() -> PyTree:
      return self.model.weights(self.method.init(parallel.init_key(0)))

    return jax.eval_shape(weights)

  def _weights(self) -> PyTree:
    if self._folder is None:
      start = jax.jit(self.method.init)(parallel.init_key(self._seed))
      return self.model.weights(start)
    checkpoints = Checkpoints(self._folder)
    _, arrays = checkpoints.restore()
    checkpoints.close()
    template = jax.eval_shape(self.method.init, parallel.init_key(0))
    try:
      found = unflatten({"state": template}, arrays)["state"]
    except UserError as error:
      raise UserError(
        f"--config.base={self._folder} is of another network than this config:"
        f" {error}"
      ) from error
    return jax.tree.map(np.asarray, self.model.weights(found))


def _require_fit(folder: Path, theirs: ConfigDict, config: ConfigDict) -> None:
  """Requires a run of the base's method with the same network.

  Raises:
    UserError: says what differs.
  """
  if theirs.method != METHOD:
    raise UserError(
      f"--config.base={folder} is a run of {theirs.method}; expected one of"
      f" {METHOD}, as of `{typed.command('train')}"
      " --config=configs/text_to_image_scenes.py`"
    )
  found, wanted = _sizes(theirs), _sizes(config)
  differing = [
    f"{key}: {found.get(key, '(absent)')!r} there, {wanted[key]!r} here"
    for key in wanted
    if found.get(key) != wanted[key]
  ]
  if differing:
    raise UserError(
      f"--config.base={folder} has another network than this config; set the"
      f" same here ({'; '.join(differing)})"
    )


def _sizes(config: ConfigDict) -> Mapping[str, Any]:
  """What makes the base's network, by key."""
  found = {"data.image_size": config.data.image_size}
  for group in _GROUPS:
    for key, value in config[group].items():
      if f"{group}.{key}" not in _FREE:
        found[f"{group}.{key}"] = value
  return found
