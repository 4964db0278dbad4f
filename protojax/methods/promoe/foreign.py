"""Imports networks that ProMoE's own code has trained.

github.com/ali-vilab/ProMoE saves the network and its average; the average is
read. The tensors are the same whether tokens chose experts or experts chose
tokens, and for rectified flow or DDPM: a note says what is assumed.
"""

from collections.abc import Mapping
import dataclasses
from pathlib import Path
import re
from typing import Any

from flax import traverse_util
import numpy as np

from protojax.diffusion.positions import grid_positions
from protojax.methods.promoe.method import Method
from protojax.types import Metrics, PyTree, State, UserError
from protojax.weights import prefixes, pytorch

# What is declared of checkpoints; see `protojax.methods`.
__all__ = [
  "SYSTEMS",
  "config",
  "described",
  "pushed",
  "read",
  "recognised",
  "settings",
  "state",
  "summary",
]
SYSTEMS = "ProMoE's code (blocks.*.mlp.cluster_centers, blocks.*.mlp.experts.*)"

# Tensors that one error names.
_COMPLAINTS = 20
_PROTOTYPES = "blocks.{}.mlp.cluster_centers"
_EXPERT = "blocks.{}.mlp.experts.{}.up_proj.weight"
_POSITIONS = "pos_embed"
# Of a head in each of the paper's sizes, 64 but for XL (72).
_HEAD = {1152: 72}
# Ours -> theirs, of a block; kernels are transposed.
_OF_BLOCK = {
  "attention/qkv": "attn.qkv",
  "attention/out": "attn.proj",
  "attention/query_norm": "attn.q_norm",
  "attention/key_norm": "attn.k_norm",
  "feed_forward/expand": "mlp.fc1",
  "feed_forward/project": "mlp.fc2",
  "feed_forward/shared_up": "mlp.shared_expert.up_proj",
  "feed_forward/shared_down": "mlp.shared_expert.down_proj",
  "modulation/dense": "adaLN_modulation.1",
}
_OF_NETWORK = {
  "time_1": "t_embedder.mlp.0",
  "time_2": "t_embedder.mlp.2",
  "final": "final_layer.linear",
  "modulation/dense": "final_layer.adaLN_modulation.1",
}
_BLOCK = re.compile(r"blocks\.(\d+)\.")
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}


@dataclasses.dataclass(frozen=True)
class Network:
  """A network of their code.

  Attributes:
    tensors: by their names.
    channels: of a token.
    depth: number of blocks.
    patch: cells on a side of a token.
    latent: channels of an image.
    side: rows and columns of an image.
    classes: number of classes.
    experts: routed ones of a block.
    units: inside of a routed expert.
    qk_norm: whether queries and keys are normalised.
    learn_sigma: whether it has twice the channels out.
    notes: assumptions that were made, as sentences.
  """

  tensors: Mapping[str, np.ndarray]
  channels: int
  depth: int
  patch: int
  latent: int
  side: int
  classes: int
  experts: int
  units: int
  qk_norm: bool
  learn_sigma: bool
  notes: tuple[str, ...] = (
    "tokens are taken to choose their experts, and the network to predict a"
    " velocity; if experts chose tokens (models_ProMoE_EC) or it was trained as"
    " DDPM, import it with --config=promoe_imagenet:ec or :ddpm",
  )


def recognised(module: pytorch.Module) -> bool:
  """Whether the content of a file is a ProMoE's."""
  return _PROTOTYPES.format(1) in prefixes.bare(module.tensors)


def read(module: pytorch.Module, arch: Path, image_size: int) -> Network:
  """The network of a file.

  Args:
    module: the content of the file.
    arch: of CaBRNet; not needed.
    image_size: ignored; the tensors tell it.

  Raises:
    UserError: sizes do not fit together, or the positions are not those of the
      grid.
  """
  del arch, image_size
  tensors = dict(prefixes.bare(module.tensors))
  names = "x_embedder.proj.weight", "y_embedder.embedding_table.weight"
  names = (*names, _POSITIONS, "final_layer.linear.bias", _EXPERT.format(1, 0))
  if missing := [name for name in names if name not in tensors]:
    raise UserError(f"there is no tensor {', '.join(missing)}")
  embed, table, positions, final, expert = (tensors[name] for name in names)
  if embed.ndim != 4 or positions.ndim != 3 or expert.ndim != 2:
    raise UserError(
      f"x_embedder.proj.weight has shape {embed.shape}, pos_embed"
      f" {positions.shape}; expected four and three axes"
    )
  channels, latent, patch, _ = embed.shape
  cells = round(positions.shape[1] ** 0.5)
  _require_positions(positions, cells, channels)
  blocks = {int(m[1]) for m in map(_BLOCK.match, tensors) if m}
  depth = max(blocks) + 1
  mixed = [n for n in range(depth) if _PROTOTYPES.format(n) in tensors]
  if depth % 2 or mixed != list(range(1, depth, 2)):
    raise UserError(
      f"of {depth} blocks, those with experts are {mixed}; expected every"
      " second one, from 1"
    )
  return Network(
    tensors,
    channels,
    depth,
    patch,
    latent,
    cells * patch,
    len(table) - 1,
    len(tensors[_PROTOTYPES.format(1)]),
    len(expert),
    "blocks.0.attn.q_norm.weight" in tensors,
    len(final) == 2 * latent * patch**2,
  )


def _require_positions(found: np.ndarray, cells: int, channels: int) -> None:
  """They are fixed, so that ours must be theirs."""
  if found.shape == (1, cells**2, channels) and channels % 4 == 0:
    own = grid_positions(cells, cells, channels)
    if np.allclose(found[0], own, atol=1e-4):
      return
  raise UserError(
    f"{_POSITIONS} of shape {found.shape} does not hold the sines and cosines"
    " of a square grid: such positions are not read"
  )


def config(found: Network) -> str:
  """Our config for what a checkpoint does not tell."""
  del found
  return "promoe_imagenet"


def settings(found: Network) -> dict[str, Any]:
  """Keys of the config that a checkpoint tells."""
  return {
    "space.channels": found.latent,
    "data.image_size": found.side,
    "network.size": "",
    "network.channels": found.channels,
    "network.depth": found.depth,
    "network.heads": max(1, found.channels // _HEAD.get(found.channels, 64)),
    "network.patch": found.patch,
    "network.ratio": 2.0 * found.units / found.channels,
    "network.qk_norm": found.qk_norm,
    "network.learn_sigma": found.learn_sigma,
    "moe.experts": found.experts,
    "moe.every": 2,
  }


def described(found: Network) -> str:
  """In a line."""
  return (
    f"a ProMoE of {found.depth} blocks of {found.channels} channels, with"
    f" {found.experts} experts in every second one, {found.classes} classes"
  )


def summary(found: Network) -> dict[str, Any]:
  """Entries of summary.json."""
  return {"experts": found.experts, "layers": found.depth // 2}


def state(found: Network, template: PyTree, method: Method) -> State:
  """The state of the method with these weights, which are their average.

  Raises:
    UserError: a tensor is missing, superfluous or misshapen.
  """
  del method
  flat: dict[str, Any] = traverse_util.flatten_dict(
    template.params["network"], sep="/"
  )
  taken: set[str] = {_POSITIONS}
  weights, wrong = {}, []
  for path, leaf in flat.items():
    try:
      made = _array(found, path, taken)
    except KeyError as error:
      wrong.append(f"{error.args[0]} is missing")
      continue
    except ValueError:  # Arrays to be stacked.
      wrong.append(f"the tensors of {path} have not the same shape")
      continue
    if made.shape != leaf.shape:
      wrong.append(f"{path} has shape {made.shape}; expected {leaf.shape}")
    weights[path] = np.asarray(made, np.float32)
  wrong += [f"{n} is superfluous" for n in sorted(set(found.tensors) - taken)]
  if wrong:
    raise UserError("; ".join(wrong[:_COMPLAINTS]))
  network = traverse_util.unflatten_dict(weights, sep="/")
  return State({"network": network}, {}, {}, {"average": network})


def _array(found: Network, path: str, taken: set[str]) -> np.ndarray:
  """One of our arrays; adds the names of its tensors."""

  def tensor(name: str) -> np.ndarray:
    taken.add(name)
    return np.asarray(found.tensors[name])

  if path == "patches/kernel":
    kernel = tensor("x_embedder.proj.weight").transpose(2, 3, 1, 0)
    return kernel.reshape(-1, found.channels)
  if path == "patches/bias":
    return tensor("x_embedder.proj.bias")
  if path == "labels/embedding":
    return tensor("y_embedder.embedding_table.weight")
  if not path.startswith("groups/"):
    return _leaf(tensor, _OF_NETWORK, path)
  _, block, rest = path.split("/", 2)
  numbers = range(int(block.removeprefix("block_")), found.depth, 2)
  return np.stack([_of_block(found, tensor, n, rest) for n in numbers])


def _of_block(found: Network, tensor: Any, number: int, rest: str):
  prefix = f"blocks.{number}."
  if rest == "feed_forward/prototypes":
    return tensor(prefix + "mlp.cluster_centers")
  layer = rest.removeprefix("feed_forward/").removesuffix("_bias")
  if layer in ("up", "down"):
    kind = "bias" if rest.endswith("_bias") else "weight"
    every = [
      tensor(f"{prefix}mlp.experts.{j}.{layer}_proj.{kind}").T
      for j in range(found.experts + 1)
    ]
    return np.stack(every)
  return _leaf(lambda name: tensor(prefix + name), _OF_BLOCK, rest)


def _leaf(tensor: Any, names: Mapping[str, str], path: str) -> np.ndarray:
  layer, leaf = path.rsplit("/", 1)
  found = tensor(f"{names[layer]}.{_LEAVES[leaf]}")
  return found.T if leaf == "kernel" else found


def pushed(method: Method, state: State) -> tuple[State, Metrics]:
  """Refuses: prototypes of ProMoE are no patches.

  Raises:
    UserError: always.
  """
  raise UserError(
    "--push: prototypes of ProMoE are directions that route tokens, and no"
    " patches of images; leave it out"
  )
