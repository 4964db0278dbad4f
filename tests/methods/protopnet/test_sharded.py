"""ProtoPNet with its prototypes shared out over two devices."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from protojax import parallel
from protojax.data import views
from protojax.engine import descent
from protojax.engine import stage as stages
from protojax.engine.checkpoint import Checkpoints, Progress, flatten, unflatten
from protojax.engine.optimizer import adam, grouped
from protojax.types import UserError

_STEPS = 3
_GROUPS = ("backbone", "add_on", "prototypes", "head")


def _joint(method):
  """Joint training in which the head moves, too."""
  found = next(s for s in method.stages() if s.name == "joint")
  optimizer = grouped({name: adam(1e-3, 1e-3) for name in _GROUPS})
  # Images as they are compile sooner.
  plain = dataclasses.replace(found.data, views=views.one(""))
  return dataclasses.replace(
    found, data=plain, optimizer=optimizer, length=stages.steps(_STEPS)
  )


@pytest.fixture(scope="module")
def trained(make_method, make_state):
  """`trained(sharded)`: losses of three steps, and what each has left."""

  @functools.cache
  def train(sharded):
    method = make_method(**{"prototypes.sharded": sharded})
    fit, state = _joint(method), make_state(make_method())
    return _run(fit, state, fit.optimizer.init(state.params))

  return train


def _run(fit, state, moments, start=0):
  losses, found = [], []
  for update in descent.fit(fit, state, moments, parallel.key(1), start):
    losses.append(float(update.metrics["loss"]))
    found.append(update.on_host(fit.sharding))
  return losses, found


def _close(found, expected, rtol):
  """Each leaf to `rtol` of its largest value."""
  found, expected = flatten(found), flatten(expected)
  assert found.keys() == expected.keys()
  for name, leaf in expected.items():
    if leaf.dtype.kind == "f" and np.isfinite(leaf).all():
      scale = np.abs(leaf).max()
      np.testing.assert_allclose(
        found[name], leaf, rtol=0, atol=rtol * scale, err_msg=name
      )
    else:
      np.testing.assert_array_equal(found[name], leaf, err_msg=name)


def test_gradients_and_steps_are_those_of_the_whole_bank(trained):
  losses, updates = trained(True)
  whole_losses, whole = trained(False)
  np.testing.assert_allclose(losses, whole_losses, rtol=1e-5)
  # The first moments are a tenth of the gradient, of every leaf.
  _close(updates[0][1], whole[0][1], 1e-5)
  # Adam divides by the gradient's size, and so makes more of its rounding: of
  # 73,728 weights one is off by 1.7e-4 on JAX 0.12.
  _close(updates[-1][0], whole[-1][0], 5e-4)


def test_each_device_holds_a_shard_of_bank_head_and_moments(
  make_method, make_state
):
  fit = _joint(make_method(**{"prototypes.sharded": True}))
  state = make_state(make_method())
  moments = fit.optimizer.init(state.params)
  placed = parallel.distribute((state, moments), fit.sharding)
  count = len(state.buffers["alive"])
  sharded = [
    leaf
    for leaf in jax.tree.leaves(placed)
    if leaf.addressable_shards[0].data.size < leaf.size
  ]
  # The parameters and two moments of each; class and life of prototypes.
  assert len(sharded) == 3 * 2 + 2
  assert all(count // 2 in leaf.shape for leaf in sharded)


def test_a_checkpoint_holds_the_whole_bank(
  trained, make_method, make_state, tmp_path
):
  """Half of a run with a sharded bank, the rest with a local one."""
  losses, updates = trained(True)
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(Progress(1, 2), updates[1][0], {"joint": updates[1][1]})
  _, arrays = checkpoints.restore()
  checkpoints.close()
  fit, template = _joint(make_method()), make_state(make_method())
  tree = {
    "state": template,
    "optimizers": {"joint": fit.optimizer.init(template.params)},
  }
  kept = unflatten(tree, arrays)
  rest, _ = _run(fit, kept["state"], kept["optimizers"]["joint"], 2)
  np.testing.assert_allclose(rest, losses[2:], rtol=1e-5)


def test_the_last_layer_is_that_of_the_whole_bank(make_method, make_state):
  """From embedded features, where the other keeps all distances."""
  state, found = make_state(make_method()), {}
  for sharded in (False, True):
    method = make_method(
      **{"prototypes.sharded": sharded, "last.solver": "adam"}
    )
    fit = next(s for s in method.stages() if s.name == "last layer")
    fit = dataclasses.replace(fit, length=stages.steps(1))
    moments = fit.optimizer.init(state.params)
    found[sharded] = _run(fit, state, moments)[1][0][1]
  _close(found[True], found[False], 1e-5)


def test_push_and_prune_are_those_of_the_whole_bank(make_method, make_state):
  """With a dead prototype, and a class on both devices."""
  whole = make_method()
  start, found = make_state(whole), {}
  alive = np.array([1, 1, 1, 1, 0, 1], bool)
  start = start.replace(buffers={**start.buffers, "alive": alive})
  for sharded in (False, True):
    method = make_method(**{"prototypes.sharded": sharded})
    pushed, said = method.push(start, whole.stream("train"))
    found[sharded] = pushed, method.prune(pushed, whole.stream("train")), said
  jax.tree.map(np.testing.assert_array_equal, found[True], found[False])
  assert found[True][2]["pushed"] == 5


def test_prototypes_that_do_not_divide_are_refused(make_method):
  # Three classes of one prototype each.
  method = make_method(
    **{"prototypes.sharded": True, "prototypes.per_class": 1}
  )
  with pytest.raises(UserError, match="3 prototypes do not divide over 2 dev"):
    list(method.stages())
