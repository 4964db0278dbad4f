"""What a method's steps and answers cost, from shapes: no data, nothing run."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from protojax import methods, parallel
from protojax.datasets import stand_in
from protojax.engine import assets as assets_lib
from protojax.engine import cost, descent
from protojax.engine.stage import Fit
from protojax.layers import conv
from protojax.types import PyTree, State


def untrained(config: Any) -> Any:
  """The config with random weights in place of those of a file."""
  config = config.unlock()
  backbone = config.get("backbone", {})
  for key, value in (("pretrained", False), ("weights", "")):
    if key in backbone:
      backbone[key] = value
  return config.lock()


def load(config: Any, classes: int = 0, images: int = 0) -> Any:
  """The method, with stand-ins for data that are not there.

  Args:
    config: of a run.
    classes, images: of the stand-ins; 0: as published, or a guess.
  """
  method = methods.load(config)
  make = stand_in.maker(
    config.data, stand_in.counts(config.data, classes, images)
  )
  method.dataset.stand_in = lambda split, error: make(split)
  return method


def largest(method: Any) -> tuple[Fit, cost.Cost]:
  """The stage whose steps do most, and what one of them does."""
  fits = [stage for stage in method.stages() if isinstance(stage, Fit)]
  found = [(of_step(method, fit), fit) for fit in fits]
  work, fit = max(found, key=lambda pair: pair[0].flops)
  return fit, work


def layout(fit: Fit) -> PyTree:
  """Shapes of a batch of a stage."""
  found = {name: data.layout() for name, data in fit.streams.items()}
  return found if isinstance(fit.data, Mapping) else found[""]


def of_step(method: Any, fit: Fit) -> cost.Cost:
  """What a step does on one accelerator."""
  state = _state(method)
  moments = jax.eval_shape(fit.optimizer.init, state.params)
  step = descent.mapped(fit, state, moments, parallel.key(0))
  batch = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), layout(fit)
  )
  number = jax.ShapeDtypeStruct((), np.int32)
  with conv.traced_for("tpu"):
    return cost.of(step, state.replace(assets={}), moments, batch, number)


def of_answers(method: Any) -> cost.Cost:
  """What the answers to a batch of test examples do on one accelerator."""
  batch = method.stream("test").layout()
  with conv.traced_for("tpu"):
    return cost.of(method.predict, _state(method), batch)


def _state(method: Any) -> State:
  state = jax.eval_shape(method.init, parallel.init_key(0))
  return state.replace(assets=assets_lib.shapes(method.assets))
