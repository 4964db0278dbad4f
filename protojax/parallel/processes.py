"""The processes of a run: connects them; one of them prints and writes."""

import os
import socket
import time

import jax
from jax.experimental import multihost_utils
import numpy as np

from protojax import printing
from protojax.types import UserError

# Seconds that a process waits for process 0; JAX waits as long.
_COORDINATOR_SECONDS = 300.0


def join() -> None:
  """Joins the other processes of this run.

  Raises:
    UserError: they cannot be joined.
  """
  address = os.environ.get("JAX_COORDINATOR_ADDRESS")
  count, index = _number("JAX_NUM_PROCESSES"), _number("JAX_PROCESS_ID")
  try:
    if count is None or index is None:
      jax.distributed.initialize()
      return
    if address:
      _await_coordinator(address, 0.0 if index == 0 else _COORDINATOR_SECONDS)
    jax.distributed.initialize(address, count, index)
  except (ValueError, RuntimeError, OSError) as error:
    raise UserError(
      f"--distributed could not join the other processes: {error}. It needs a"
      " TPU pod, SLURM, Open MPI, or else JAX_COORDINATOR_ADDRESS,"
      " JAX_NUM_PROCESSES and JAX_PROCESS_ID. Leave the flag out to run on this"
      " machine alone."
    ) from error


def _number(variable: str) -> int | None:
  """An environment variable that is a number; None where it is not set."""
  value = os.environ.get(variable)
  if value and not value.isdecimal():
    raise UserError(f"{variable}={value} is not a number; set it to one.")
  return int(value) if value else None


def _await_coordinator(address: str, seconds: float) -> None:
  """Waits for process 0 to listen; JAX itself would abort the process.

  Raises:
    OSError: it does not listen within `seconds`; 0 does not wait.
    ValueError: the address is not HOST:PORT.
  """
  host, _, port = address.rpartition(":")
  if not (host and port.isdecimal() and int(port) < 1 << 16):
    raise ValueError(f"JAX_COORDINATOR_ADDRESS={address} is not HOST:PORT")
  end = time.monotonic() + seconds
  while seconds:
    try:
      socket.create_connection((host.strip("[]"), int(port)), 5).close()
      return
    except OSError as error:
      if time.monotonic() > end:
        raise OSError(
          f"no process 0 answers at JAX_COORDINATOR_ADDRESS={address} ({error})"
        ) from error
    time.sleep(0.2)


def process_index_count() -> tuple[int, int]:
  """This process's number and how many processes there are."""
  return jax.process_index(), jax.process_count()


def is_primary() -> bool:
  """Whether this process is the one that writes files and prints."""
  return jax.process_index() == 0


def say(message: str) -> None:
  """Prints a line, once for all processes."""
  if is_primary():
    printing.say(message)


def same_everywhere(content: bytes) -> bool:
  """Whether all processes have the same bytes; all must call this."""
  own = np.frombuffer(content, np.uint8)
  if jax.process_count() == 1:
    return True
  every = multihost_utils.process_allgather(own)
  return bool(np.all(every == own[None]))


def any_process(flag: bool) -> bool:
  """Whether `flag` holds in at least one process; all must call it."""
  if jax.process_count() == 1:
    return flag
  return bool(np.any(multihost_utils.process_allgather(np.array(flag))))
