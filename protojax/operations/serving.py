"""Serving: a page of this machine, until Ctrl-C."""

import argparse
from collections.abc import Callable
import ipaddress
from pathlib import Path
import signal
import threading
from typing import Any

from protojax import printing, signals
from protojax.interact.server import Server


def served(
  session: Any,
  args: argparse.Namespace,
  folder: Path,
  begin: Callable[[], Any],
  meanwhile: Callable[[threading.Event], Any] = threading.Event.wait,
  **limits: Any,
) -> int:
  """Serves a page until a signal; gives the exit code.

  Args:
    session: its content; see `interact.server`.
    args: of the command: its host and port.
    folder: workdir of the run.
    begin: called before the address is shown; may take its time.
    meanwhile: runs in a thread beside; ends when the event is set.
    **limits: "most_bytes" and "documents" of `Server`.

  Raises:
    UserError: the address is not available.
  """
  title = folder.resolve().name
  with Server(session, title, args.host, args.port, **limits) as server:
    begin()
    stopped = _serve(server, meanwhile)
  return 0 if stopped == signal.SIGINT else 128 + stopped


def _serve(server: Server, meanwhile: Callable[[threading.Event], Any]) -> int:
  """Serves the page until a signal, which is returned."""
  if not _is_loopback(server.server_address[0]):
    printing.tell(
      "note: other machines can reach this page. Whoever has its address sees"
      " the images and can save what is done there; nothing is encrypted."
    )
  printing.say(f"open {server.address} (Ctrl-C ends)")
  stop = threading.Event()
  beside = threading.Thread(target=meanwhile, args=(stop,))
  beside.start()
  stopped: int = signal.SIGINT
  try:
    server.serve_forever()
  except KeyboardInterrupt as error:
    printing.tell("")  # Ends the line on which the terminal shows ^C.
    stopped = signals.taken(error)
  finally:
    stop.set()
    beside.join()
  return stopped


def _is_loopback(address) -> bool:
  return ipaddress.ip_address(str(address)).is_loopback
