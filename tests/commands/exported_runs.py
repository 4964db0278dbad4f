"""A run to export, for the tests of the formats."""

from pathlib import Path

import jax
import numpy as np

from configs import protopnet_folder
from protojax import methods, parallel
from protojax.engine import workdir
from protojax.engine.checkpoint import Checkpoints, Progress


def random_run(parent: Path) -> Path:
  """A run with random weights and two dead prototypes of six."""
  folder = parent / "run"
  config = protopnet_folder.get_config("debug").unlock()
  config.data.update({"name": "folder", "root": "/gone"})
  config.prototypes.similarity = "log"
  names = ("cat", "dog's <b>", "\u00fc")
  method = methods.load(config.lock(), names)
  rng = np.random.default_rng(0)
  state = jax.tree.map(
    # Of positive variance, and no larger than weights are.
    lambda x: (rng.random(x.shape) / 8 + 0.01).astype(x.dtype),
    jax.eval_shape(method.init, parallel.init_key(0)),
  )
  source = state.buffers["provenance"].replace(
    image=np.array([4, 0, -1, 2, 1, 3], np.int32),
    cell=np.array([0, 5, 0, 9, 1, 2], np.int32),
  )
  state = state.replace(
    buffers={
      **state.buffers,
      "class_of": np.array([0, 0, 1, 1, 2, 2], np.int32),
      "alive": np.array([1, 0, 1, 1, 0, 1], bool),
      "provenance": source,
    }
  )
  workdir.claim(folder, config, methods.later)
  workdir.claim_classes(folder, names)
  checkpoints = Checkpoints(folder)
  checkpoints.save(Progress(finished=True), state, {})
  checkpoints.close()
  return folder
