"""Correcting: a page, or a file, on which a person corrects a model."""

import argparse
import ipaddress
from pathlib import Path
import signal
import threading

from protojax import loading, parallel, printing, signals
from protojax.data import skipped
from protojax.data.source import Source
from protojax.datasets import files
from protojax.engine import workdir
from protojax.interact import batch
from protojax.interact.answers import Model
from protojax.interact.atlas_images import Atlas
from protojax.interact.server import Server
from protojax.interact.session import Session
from protojax.methods.base import needed
from protojax.writing import opened, require_apart


def run(args: argparse.Namespace) -> int:
  """Applies a file, or serves the page until Ctrl-C.

  Raises:
    UserError: there is no run or there are no images, the model has no
      concepts, the file has a mistake, or the address is not available.
  """
  parallel.setup()
  folder = Path(args.workdir or workdir.newest(Path("runs")))
  method, state, config = loading.load(folder)
  intervenes = needed(method, "intervenes")
  loading.require_living(method, state)
  # train.py writes this file last.
  if not (folder / "summary.json").exists():
    printing.tell(f"note: {folder} is not trained to its end")
  with loading.described_by(folder, config):
    source = _source(method, args.images)
  model = Model(method, state)
  if args.boxes:
    require_apart(args.output, [args.boxes, *args.images])
    asked = batch.read(Path(args.boxes), source, intervenes.concept_names)
    with opened(args.output) as file:
      batch.write(batch.apply(model, source, asked), file, args.format)
    return 0
  session = Session(
    model,
    source,
    folder / "interventions.json",
    Atlas(method, state, intervenes.grid),
  )
  title = folder.resolve().name
  with Server(session, title, args.host, args.port) as server:
    stopped = _serve(server, session)
  printing.tell(f"{session.saved_count} interventions saved in {session.path}")
  return 0 if stopped == signal.SIGINT else 128 + stopped


def _source(method, paths: list[str]) -> Source:
  """The images; prints to stderr which cannot be read."""
  split = "images" if paths else "test"
  source = files.images(*paths) if paths else method.stream(split).source
  for line in skipped.report({split: source}):
    printing.tell(line)
  return source


def _serve(server: Server, session: Session) -> int:
  """Serves the page until a signal, which is returned.

  It predicts all images in the meantime.
  """
  printing.tell("compiling ...")
  session.opened(0)
  if not _is_loopback(server.server_address[0]):
    printing.tell(
      "note: other machines can reach this page. Whoever has its address sees"
      " the images and can save interventions; nothing is encrypted."
    )
  printing.say(f"open {server.address} (Ctrl-C ends)")
  stop = threading.Event()
  listing = threading.Thread(target=session.predict_all, args=(stop,))
  listing.start()
  stopped: int = signal.SIGINT
  try:
    server.serve_forever()
  except KeyboardInterrupt as error:
    printing.tell("")  # Ends the line on which the terminal shows ^C.
    stopped = signals.taken(error)
  finally:
    stop.set()
    listing.join()
  return stopped


def _is_loopback(address) -> bool:
  return ipaddress.ip_address(str(address)).is_loopback
