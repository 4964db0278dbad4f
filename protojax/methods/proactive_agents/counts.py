"""The grammar's counts as arrays of a state, and back."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from protojax.agents import scenes
from protojax.agents.scenes import Grammar, Scenes, Weights
from protojax.types import PyTree


def empty(count: int) -> dict[str, PyTree]:
  """Buffers of the counts over so many scenes, before they are made."""
  t, a, w = (len(x) for x in (scenes.TYPES, scenes.ATTRIBUTES, scenes.WHOLE))
  return {
    "there": jnp.zeros((count, t), bool),
    "attributes": jnp.zeros((count, t, a), jnp.int8),
    "whole": jnp.zeros((count, w), jnp.int8),
    "at": jnp.zeros((count, t, 2)),
    "weights": {
      "things": jnp.zeros(t),
      "attributes": jnp.zeros(a),
      "whole": jnp.zeros(w),
      "relation": jnp.zeros(()),
    },
  }


def counted(grammar: Grammar) -> dict[str, PyTree]:
  """Buffers of a grammar."""
  found = grammar.scenes
  w = grammar.weights
  numbers = {
    "things": np.array(list(w.things.values()), np.float32),
    "attributes": np.array(list(w.attributes.values()), np.float32),
    "whole": np.array(list(w.whole.values()), np.float32),
    "relation": np.float32(w.relation),
  }
  return {
    "there": found.there,
    "attributes": found.attributes.astype(np.int8),
    "whole": found.whole.astype(np.int8),
    "at": found.at.astype(np.float32),
    "weights": numbers,
  }


def grammar(buffers: Mapping[str, PyTree]) -> Grammar:
  """The grammar of buffers."""
  found = jax.tree.map(np.asarray, dict(buffers))
  weights = found.pop("weights")

  def named(name: str, keys: Mapping[str, object] | tuple[str, ...]):
    return dict(zip(keys, weights[name].tolist(), strict=True))

  return Grammar(
    Scenes(
      found["there"],
      found["attributes"].astype(np.int32),
      found["whole"].astype(np.int32),
      found["at"],
    ),
    Weights(
      named("things", scenes.TYPES),
      named("attributes", scenes.ATTRIBUTES),
      named("whole", scenes.WHOLE),
      float(weights["relation"]),
    ),
  )
