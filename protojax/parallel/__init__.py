"""Devices and processes: the only package that names them.

A step function works on one device's slice of a batch. `pmap` runs it on all
devices, `Sweep` and `fold` run it over a stream of batches with one carry per
device, and `psum` and `gather` exchange values between the devices.
"""

import os
from pathlib import Path
import warnings

import jax

from protojax.parallel import heap
from protojax.parallel.arrays import (  # noqa: F401
  distribute,
  placed,
  replicate,
  shard,
  to_host,
  unshard,
)
from protojax.parallel.keys import example_keys, init_key, key, key_of  # noqa: F401
from protojax.parallel.mapped import (  # noqa: F401
  AXIS,
  exchange,
  gather,
  pmap,
  pmap_once,
  pmean,
  psum,
  scatter_sum,
)
from protojax.parallel.passes import Sweep, each, fold, summed  # noqa: F401
from protojax.parallel.processes import (  # noqa: F401
  any_process,
  is_primary,
  join,
  process_index_count,
  same_everywhere,
  say,
)
from protojax.parallel.sharding import LOCAL, Sharding, axes, map_axes  # noqa: F401

# With this flag dense convolutions run two to ten times faster on CPU. An
# unknown flag aborts the process, so only jaxlib releases that were tried get
# it. INDIVIDUAL_DOT, and not DOT, which takes what surrounds a product into it:
# then "ljd,lkd->ljk", the right side broadcast from [k d], gives for every k
# what belongs to the first.
_FAST_CPU = (
  "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
)
_FAST_CPU_RELEASES = ("0.10.", "0.11.", "0.12.")


def setup(distributed: bool = False) -> None:
  """Prepares JAX; call it before anything else uses a device.

  Compiled programs are stored in the user's cache folder, so that the second
  start of a run compiles nothing.

  Args:
    distributed: join the other processes of this run through
      `jax.distributed`, which reads a TPU pod's, SLURM's or Open MPI's
      environment, or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
      JAX_PROCESS_ID.

  Raises:
    UserError: there are no other processes to join.
  """
  release = jax.lib.__version__
  if "XLA_FLAGS" not in os.environ and release.startswith(_FAST_CPU_RELEASES):
    os.environ["XLA_FLAGS"] = _FAST_CPU
  heap.keep()
  # The cache of programs only saves time. On a full disk JAX would say so of
  # each program, and again at every start of each that was cut off.
  warnings.filterwarnings(
    "ignore", "Error (reading|writing) persistent compilation cache"
  )
  # JAX adds its options to the config as attributes while it is imported.
  # pyrefly: ignore[missing-attribute]
  if jax.config.jax_compilation_cache_dir is None:
    cache = cache_dir() / "compiled"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
  if distributed and not jax.distributed.is_initialized():
    join()


def rehearse(devices: int) -> None:
  """Prepares JAX, in place of `setup`, to trace for so many devices.

  They stand for any others: nothing must be run on them.
  """
  for option, value in (
    ("jax_platforms", "cpu"),
    ("jax_num_cpu_devices", devices),
  ):
    # Where JAX has started with it already, it refuses to be told again.
    if getattr(jax.config, option) != value:
      jax.config.update(option, value)


def cache_dir() -> Path:
  """The user's cache folder, for files that can be made again."""
  base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
  return Path(base) / "protojax"


def device_count() -> int:
  """Devices of all processes together."""
  return jax.device_count()


def whole_batch(size: int) -> int:
  """The smallest batch of at least `size` that divides over the devices."""
  return -(-size // jax.device_count()) * jax.device_count()


def describe() -> str:
  """The devices of the run in words, e.g. `2 x cpu`."""
  return f"{jax.device_count()} x {jax.devices()[0].device_kind.lower()}"
