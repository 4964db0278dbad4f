"""The network of ProMoE: noisy image, time, label -> prediction, evidence.

Training, sampling, evaluation and explanations go through `MixtureNetwork`.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Float, Int

from protojax.diffusion import processes
from protojax.diffusion.processes import Process
from protojax.diffusion.space import Space
from protojax.diffusion.transformer import DiT
from protojax.methods.promoe.routing import Rule
from protojax.types import Array, ArrayLike, Batch, PyTree, State


class Answer(NamedTuple):
  """The result of a forward pass; jit drops what a caller ignores.

  Attributes:
    prediction: what the process asks for.
    evidence: of the mixtures, stacked over them: see `Mixture`; empty where
      all layers are dense.
  """

  prediction: Any
  evidence: Any


class Seen(NamedTuple):
  """Examples at one time.

  Attributes:
    answer: of the network.
    error: squared, of each example.
    target: mean square of what was to be predicted, of each example.
  """

  answer: Answer
  error: Float[Array, " b"]
  target: Float[Array, " b"]


@dataclasses.dataclass(frozen=True, eq=False)
class MixtureNetwork:
  """A diffusion transformer with mixtures of experts.

  Attributes:
    transformer: the layers.
    rule: how tokens are routed; None where all layers are dense.
    process: what is noise, and what is predicted.
    space: what the network sees of an image.
  """

  transformer: DiT
  rule: Rule | None
  process: Process
  space: Space

  @property
  def null(self) -> int:
    """The label that stands for none."""
    return self.transformer.classes

  @property
  def layers(self) -> int:
    """Number of mixtures."""
    if self.rule is None:
      return 0
    return self.transformer.depth // len(self.transformer.feed_forwards)

  @property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of tokens."""
    cells = self.space.side // self.transformer.patch
    return cells, cells

  def init(self, key: Array) -> State:
    """Random weights as in the paper's code, and their average."""
    x = jnp.zeros((1, self.space.side, self.space.side, self.space.channels))
    label = jnp.zeros(1, jnp.int32)
    found = self.transformer.init(key, x, jnp.zeros(1), label)["params"]
    memory = {"average": found}
    if self.rule is not None and self.rule.router == "kmeans":
      memory["centroids"] = prototypes(found)
    return State({"network": found}, {}, {}, memory)

  def apply(
    self,
    params: PyTree,
    x: Float[Array, "b h w c"],
    t: Float[Array, " b"],
    label: Int[Array, " b"],
  ) -> Answer:
    """One forward pass.

    Args:
      params: the group "network", or its average.
      x: noisy images.
      t: their times.
      label: classes; `null` for none.
    """
    call: Any = self.transformer.apply
    out, evidence = call({"params": params}, x, t, label)
    return Answer(out[..., : x.shape[-1]], evidence[-1])

  def known(self, label: Int[ArrayLike, " b"]) -> Int[Array, " b"]:
    """Labels; `null` in place of one that is unknown (-1)."""
    label = jnp.asarray(label)
    return jnp.where(label < 0, self.null, label)

  def seen(self, params: PyTree, batch: Batch, t: Array, number: Array) -> Seen:
    """A forward pass with noise that is always the same, and its error.

    Args:
      params: the group "network", or its average.
      batch: examples.
      t: one time for all of them.
      number: of the noise; an example has its own for each number.
    """
    given = processes.fixed(
      self.process, self.space.clean(batch), batch["index"], t, number
    )
    label = self.known(batch["label"])
    answer = self.apply(params, given.x, given.t, label)
    error = processes.squared_error(answer.prediction, given.target)
    return Seen(answer, error, jnp.mean(given.target**2, axis=(1, 2, 3)))


def average(state: State) -> PyTree:
  """The averaged weights, which images are sampled from."""
  return state.memory["average"]


def prototypes(params: PyTree) -> Float[ArrayLike, "n e d"]:
  """The prototypes of all mixtures; params is the group "network"."""
  return _mixture(params)["prototypes"]


def with_prototypes(params: PyTree, found: Float[ArrayLike, "n e d"]) -> PyTree:
  """The group "network" with other prototypes."""
  groups = params["groups"]
  last = _last(groups)
  mixture = {**groups[last]["feed_forward"], "prototypes": found}
  block = {**groups[last], "feed_forward": mixture}
  return {**params, "groups": {**groups, last: block}}


def _mixture(params: PyTree) -> PyTree:
  return params["groups"][_last(params["groups"])]["feed_forward"]


def _last(groups: PyTree) -> str:
  """The block with the mixture: the last one of a group."""
  return max(groups, key=lambda name: int(name.removeprefix("block_")))
