"""Exporting: checkpoint -> programs that run without protojax."""

import argparse
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import importlib.util
import io
from pathlib import Path
from typing import Any

import jax
from jax import export
import jax.numpy as jnp
from jaxtyping import UInt8
import numpy as np

from protojax import installed, loading, parallel, printing
from protojax.engine import checkpoint, workdir
from protojax.methods.base import able, needed
from protojax.prototypes import push
from protojax.prototypes.bank import bank_of, require_living
from protojax.prototypes.compaction import compact
from protojax.prototypes.network import Network
from protojax.types import Array, ArrayLike, State, UserError
from protojax.writing import json_text, replacing

# Flat name, as in checkpoints -> array, or tracer within a program.
Weights = Mapping[str, Any]
_PLATFORMS = ("cpu", "cuda", "tpu")
# Images on which programs and model are compared, and the largest difference
# that is allowed; for values above 1 it is a share of the value.
_COMPARED = 4
_TOLERANCE = 1e-5
# Share of pixels whose class may differ: where two logits are all but equal.
PIXELS = 1e-3


def run(args: argparse.Namespace) -> int:
  """Writes the programs; prints to stderr how much they differ from the model.

  Raises:
    UserError: the run cannot be exported, or the programs give other results
      than the model.
  """
  if importlib.util.find_spec("flatbuffers") is None:
    raise UserError(
      "export needs the package 'flatbuffers', which is not installed:"
      " python -m pip install -e '.[export]'"
    )
  parallel.setup()
  folder = folder_of(args)
  method, state, _ = loading.load(folder)
  if able(method, "segments") and not able(method, "classifies"):
    _of_pixels(Path(args.output), folder, method, state)
    return 0
  network = needed(method, "classifies")
  if not isinstance(network, Network):
    _of_answers(Path(args.output), folder, method, state)
    return 0
  state = parallel.to_host(state)
  require_living(bank_of(state))
  small = compact(state)
  weights = checkpoint.flatten(_needed(small))
  programs = serialized(network, small)
  off = difference(programs, weights, network, state)
  _require_near(off, folder)
  facts = {
    **described(method, state),
    "difference": off,
    "versions": installed.versions(("protojax", "jax")),
  }
  _write(Path(args.output), programs, weights, facts)
  printing.tell(
    f"written: {args.output}, {len(bank_of(small).alive)} prototypes of"
    f" {len(network.class_names)} classes; largest difference from the"
    f" model: {off:.2g}"
  )
  return 0


def _require_near(off: float, folder: Path) -> None:
  """Raises UserError if programs differ too much from the model."""
  if not off <= _TOLERANCE:
    raise UserError(
      f"the exported programs differ by {off:.2g} from the model in {folder},"
      f" which is more than {_TOLERANCE:g}. Nothing is written; export it on a"
      " CPU."
    )


def _of_answers(output: Path, folder: Path, method: Any, state: State) -> None:
  """Writes the program of a classifier's `predict`, without maps.

  Raises:
    UserError: it answers otherwise than the model.
  """
  state = parallel.to_host(state).replace(memory={})
  size, network = (
    loading.image_size(method.config),
    needed(method, "classifies"),
  )

  def answers(state: State, images: Array) -> dict[str, Array]:
    found = method.predict(state, {"image": images})
    return {name: x for name, x in found.items() if isinstance(x, jax.Array)}

  program, weights = _program(answers, state, size), checkpoint.flatten(state)
  images = _noise(size)
  found = export.deserialize(bytearray(program)).call(weights, images)
  expected = jax.jit(answers)(state, images)
  off = max(apart(found[name], x) for name, x in expected.items())
  _require_near(off, folder)
  class_of = np.asarray(state.buffers.get("class_of", ()), int)
  facts = {
    **dense_facts(method, network.class_names),
    "prototypes": [
      {"prototype": j, "class": network.groups.names[k]}
      for j, k in enumerate(class_of.tolist())
    ],
    "difference": off,
    "versions": installed.versions(("protojax", "jax")),
  }
  _write(output, {"predict": program}, weights, facts)
  printing.tell(
    f"written: {output}, {len(class_of)} prototypes of"
    f" {len(network.class_names)} classes; largest difference from the"
    f" model: {off:.2g}"
  )


def _of_pixels(output: Path, folder: Path, method: Any, state: State) -> None:
  """Writes the program of a method that gives each pixel a class.

  Raises:
    UserError: it gives other classes than the model.
  """
  state = parallel.to_host(state)
  buffers = {k: x for k, x in state.buffers.items() if k != "provenance"}
  needed = state.replace(buffers=buffers)
  weights, size = checkpoint.flatten(needed), loading.image_size(method.config)

  def answers(state: State, images: Array) -> dict[str, Array]:
    return {"classes": method.predict(state, {"image": images})["classes"]}

  program = _program(answers, needed, size)
  images = _noise(size)
  found = export.deserialize(bytearray(program)).call(weights, images)
  expected = jax.jit(answers)(state, images)
  off = float(np.mean(found["classes"] != expected["classes"]))
  if off > PIXELS:
    raise UserError(
      f"the exported program gives {off:.2%} of the pixels another class than"
      f" the model in {folder}, which is more than {PIXELS:.2%}. Nothing is"
      " written; export it on a CPU."
    )
  names = able(method, "segments").class_names
  facts = {
    **dense_facts(method, names),
    "pixels_apart": off,
    "versions": installed.versions(("protojax", "jax")),
  }
  _write(output, {"predict": program}, weights, facts, "model.json")
  printing.tell(
    f"written: {output}, {len(names)} classes of pixels; {off:.2%} of the"
    " pixels of noise differ from the model"
  )


def dense_facts(method: Any, names: Sequence[str]) -> dict[str, Any]:
  """What a user of an exported model without maps needs to know."""
  resizing, size = (
    loading.resizing(method.config),
    loading.image_size(method.config),
  )
  return {
    "method": method.config.method,
    "image_size": size,
    "resize": {**dataclasses.asdict(resizing), "to": resizing.to or size},
    "classes": list(names),
  }


def folder_of(args: argparse.Namespace) -> Path:
  """The run to export: the one that is named, or the newest."""
  return Path(args.workdir or workdir.newest(Path("runs")))


def serialized(network: Network, state: State) -> dict[str, bytes]:
  """The two programs of a network, serialized; all its prototypes are alive.

  "predict": (weights, images uint8 [b, S, S, 3]) -> "logits" and
  "probabilities" [b, k], "similarities", "cells" and "points" [b, p]. The
  points are those for the predicted class.
  "maps": (weights, images, prototypes int32 [q]) -> similarity maps
  [b, h, w, q].

  Args:
    network: of the model.
    state: without pruned prototypes; only its shapes matter.
  """
  count = len(bank_of(state).vectors)
  network = dataclasses.replace(network, layer=network.layer.clone(count=count))
  (q,) = export.symbolic_shape("q")
  chosen = jax.ShapeDtypeStruct((q,), jnp.int32)

  def predict(state: State, images: Array) -> dict[str, Array]:
    return dict(network.answers(state, {"image": images}))

  needed, size = _needed(state), network.image_size
  return {
    "predict": _program(predict, needed, size),
    "maps": _program(network.maps, needed, size, chosen),
  }


def _program(
  function: Callable, state: State, size: int, *others: Any
) -> bytes:
  """(weights, images, others) -> rows of any number of images, serialized.

  Args:
    function: (state, images, others) -> arrays with the images as first axis.
    state: only its shapes matter.
    size: side of the images in pixels.
    *others: shapes of what else the program takes, the same for all images.
  """
  weights = {
    name: jax.ShapeDtypeStruct(array.shape, array.dtype)
    for name, array in checkpoint.flatten(state).items()
  }
  # In the scope of the other shapes, so that all have one.
  known = [d for x in others for d in x.shape if export.is_symbolic_dim(d)]
  scope = known[0].scope if known else None
  (b,) = export.symbolic_shape("b", scope=scope)
  images = jax.ShapeDtypeStruct((b, size, size, 3), jnp.uint8)

  # Mapped over single images: the forward pass chooses the size of its blocks
  # by the number of images, which is not known here.
  def program(weights: Weights, images: Array, *others: Array) -> Any:
    whole = checkpoint.unflatten(state, weights)
    return jax.vmap(
      lambda image: jax.tree.map(
        lambda rows: rows[0], function(whole, image[None], *others)
      )
    )(images)

  exported = export.export(jax.jit(program), platforms=_PLATFORMS)
  return bytes(exported(weights, images, *others).serialize())


def _needed(state: State) -> State:
  """The state with only those buffers that the forward pass reads."""
  read = {name: state.buffers[name] for name in ("alive", "class_of")}
  return state.replace(buffers=read)


def difference(
  programs: Mapping[str, bytes],
  weights: Weights,
  network: Network,
  state: State,
) -> float:
  """The largest difference between programs and model, on images of noise.

  Args:
    programs: from `serialized`.
    weights: that they are called with.
    network: of the model.
    state: of the model, with all prototypes.

  Returns:
    The largest difference of logits, similarities and maps; for values above 1
    as a share of the value.
  """
  images = _noise(network.image_size)
  alive = np.flatnonzero(bank_of(state).alive).astype(np.int32)
  call = {
    name: export.deserialize(bytearray(program)).call
    for name, program in programs.items()
  }
  found = call["predict"](weights, images)
  some = np.arange(min(len(alive), _COMPARED), dtype=np.int32)
  maps = call["maps"](weights, images, some)

  @jax.jit
  def model(state, images):
    found = network.answers(state, {"image": images})
    return found, network.maps(state, images, alive[some])

  expected, expected_maps = model(state, images)
  return max(
    apart(found["logits"], expected["logits"]),
    apart(found["similarities"], expected["similarities"][:, alive]),
    apart(maps, expected_maps),
  )


def _noise(size: int) -> UInt8[np.ndarray, "b size size 3"]:
  """Images that programs and model are compared on."""
  shape = _COMPARED, size, size, 3
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def apart(found: ArrayLike, expected: ArrayLike) -> float:
  """Largest difference; for values above 1 as a share of the value."""
  a, b = (np.asarray(x, np.float64) for x in (found, expected))
  return float(np.max(np.abs(a - b) / np.maximum(1, np.abs(b)), initial=0))


def described(method: Any, state: State) -> dict[str, Any]:
  """The content of prototypes.json: classes, and prototypes that are alive.

  Args:
    method: a classifier with a `Network`.
    state: of the model, with all prototypes.
  """
  network, bank = method.network, bank_of(state)
  source, weights = bank.provenance, np.asarray(network.weights(state))
  name = _image_names(method)
  resizing, columns = loading.resizing(method.config), network.grid[1]
  prototypes = [
    {
      # Its number in the run and in its reports.
      "prototype": int(j),
      "class": network.class_names[bank.class_of[j]],
      "weight": float(weights[bank.class_of[j], j]),
      "image": name(int(source.image[j])),
      "cell": [int(x) for x in divmod(int(source.cell[j]), columns)],
      "content": bytes(source.content[j]).hex(),
    }
    for j in np.flatnonzero(bank.alive)
  ]
  return {
    "image_size": network.image_size,
    "resize": {
      **dataclasses.asdict(resizing),
      "to": resizing.to or network.image_size,
    },
    "grid": list(network.grid),
    "similarity": network.similarity.name,
    "classes": list(network.class_names),
    "stale": push.stale(state),
    "prototypes": prototypes,
  }


def _image_names(method: Any) -> Callable[[int], str | int | None]:
  """Index of a training image -> its name, or the index if it is gone."""
  try:
    source = method.stream("train").source
  except UserError:
    return lambda i: None if i < 0 else i
  return lambda i: None if i < 0 else source.name(i) if i < len(source) else i


def _write(
  folder: Path,
  programs: Mapping[str, bytes],
  weights: Weights,
  facts: Mapping[str, Any],
  name_of_facts: str = "prototypes.json",
) -> None:
  arrays = io.BytesIO()
  np.savez(arrays, **weights)
  files = {f"{name}.jax": content for name, content in programs.items()}
  for name, content in {**files, "weights.npz": arrays.getvalue()}.items():
    with replacing(folder / name, "wb") as file:
      file.write(content)
  with replacing(folder / name_of_facts) as file:
    file.write(json_text(facts, indent=2) + "\n")
