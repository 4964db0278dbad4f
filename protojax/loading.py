"""A trained run as the commands take it up: its method and newest state.

`explain.py` and `predict` begin here; `train.py` makes what they find.
"""

from collections.abc import Iterator
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
from ml_collections import ConfigDict

from protojax import backbones, finding, methods, parallel, ranges
from protojax.data import resizing as resizing_lib
from protojax.data import stream as stream_lib
from protojax.data.resizing import Resizing
from protojax.data.source import Source
from protojax.engine import assets
from protojax.engine import workdir as workdir_lib
from protojax.engine.checkpoint import Checkpoints, unflatten
from protojax.methods import base
from protojax.prototypes import bank
from protojax.types import State, UserError
from protojax.writing import first_line

if TYPE_CHECKING:
  from protojax.methods.base import Explains, Method

# Images of a batch where no config says how many.
_AT_ONCE = 32


def load(
  workdir: Path, make: methods.Make = methods.load
) -> tuple["Method", State, ConfigDict]:
  """The method of a run, its newest state, and its config.

  No data set is opened: the run itself says what its classes are.

  Args:
    workdir: of the run.
    make: what the run was trained with; see `operations.training.train`.

  Raises:
    UserError: the folder holds no run, or no checkpoint that fits it.
  """
  config = workdir_lib.load_config(workdir, methods.later)
  class_names = workdir_lib.class_names(workdir)
  with described_by(workdir, config):
    ranges.require(config)
    method = make(config, class_names)
    template = jax.eval_shape(method.init, parallel.init_key(config.seed))
  checkpoints = Checkpoints(workdir)
  progress, arrays = checkpoints.restore()
  checkpoints.close()
  state = unflatten({"state": template}, arrays)["state"]
  found = assets.found(method.assets, workdir, progress.assets, arrays)
  state = state.replace(assets=parallel.replicate(found))
  return method, state, config


@contextlib.contextmanager
def described_by(workdir: Path, config: ConfigDict) -> Iterator[None]:
  """For code that makes a method, or opens its data, as a run's config says.

  Of our own methods the shipped configs are tested, so that a key that is
  missing, or of another type, was changed in the file.

  Raises:
    UserError: in place of any error of a method of ours.
  """
  try:
    yield
  except UserError as error:
    raise UserError(f"{workdir}: {error}") from error
  except Exception as error:
    if finding.is_own(config.method):
      raise
    raise UserError(
      f"{workdir}/config.json and classes.json do not describe a run of"
      f" {config.method} ({type(error).__name__}: {first_line(error)}): restore"
      " them, or take another --workdir"
    ) from error


def image_size(config: ConfigDict) -> int:
  """Side in pixels at which the method of a config takes images.

  Raises:
    UserError: it takes none.
  """
  if "image_size" not in config.data:
    raise UserError(
      f"the method of this run, {config.method}, takes no images: its config"
      " has no key data.image_size"
    )
  return config.data.image_size


def resizing(config: ConfigDict) -> Resizing:
  """How images come to the size at which a method takes them.

  Raises:
    UserError: the config does not say it, or nobody knows of its weights.
  """

  def of_weights() -> resizing_lib.Preprocessing:
    b = config.backbone
    return backbones.preprocessing(b.name, b.weights)

  return resizing_lib.chosen(config.data, of_weights)


def batch_size(config: ConfigDict, images: int) -> int:
  """Examples of a batch in which images of a user's own are read.

  Args:
    config: of the run; a method need not have the key batch_size.
    images: how many there are; a batch has no more.
  """
  found = config.batch_size if "batch_size" in config else _AT_ONCE
  return min(images, found)


def stream(
  config: ConfigDict, source: Source, most: int | None = None
) -> stream_lib.Stream:
  """Images of a user's own as a method takes them, none kept in memory.

  Args:
    config: of the run.
    source: the images.
    most: a batch has no more; None: no more than there are.

  Raises:
    UserError: the method takes no images, or the config does not say how they
      are resized.
  """
  return stream_lib.ordered(
    source,
    image_size(config),
    batch_size(config, len(source) if most is None else most),
    resizing=resizing(config),
    cache_bytes=0,
  )


def require_current(
  explains: "Explains", state: State, workdir: Path, way_out: str
) -> None:
  """Refuses prototypes that are no longer the patches they were pushed to.

  Args:
    explains: of the method.
    state: of the run.
    workdir: of the run.
    way_out: how to explain them all the same.

  Raises:
    UserError: a prototype has changed since the last push.
  """
  if explains.stale(state):
    raise UserError(
      f"the prototypes in {workdir} have changed since the last push, or were"
      " never pushed, so their pictures would be misleading. Let the training"
      f" finish, or explain them anyway with {way_out}."
    )


def named(method: "Method") -> Any:
  """The capability that has a method's `class_names`; None without classes."""
  names = ("classifies", "tags", "segments")
  every = (base.able(method, name) for name in names)
  return next(filter(None, every), None)


def require_living(method: "Method", state: State) -> None:
  """Refuses a model whose prototypes were all pruned.

  A method without prototypes that stay from image to image has none to lose.

  Raises:
    UserError: none is alive.
  """
  explains = base.able(method, "explains")
  if explains is not None and explains.network is not None:
    bank.require_living(explains.network.bank(state))
