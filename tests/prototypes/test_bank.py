"""The bank against the arrays of the state that it is read from."""

import jax
import numpy as np
from numpy.testing import assert_array_equal

from protojax.engine import checkpoint
from protojax.prototypes.bank import (
  Bank,
  Provenance,
  bank_buffers,
  bank_of,
  bank_params,
  vectors,
  with_bank,
  with_vectors,
)
from protojax.types import State

_CLASS_OF = np.array([0, 0, 1], np.int32)


def _state():
  found = np.arange(12, dtype=np.float32).reshape(3, 1, 2, 2)
  return State(
    params={"head": np.ones(3), "prototypes": bank_params(found)},
    statistics={},
    buffers={**bank_buffers(_CLASS_OF), "step": np.int32(4)},
  )


def _names(state):
  return set(checkpoint.flatten(state))


def test_what_is_put_back_is_read_and_nothing_else_changes():
  state, names = _state(), _names(_state())
  bank = bank_of(state)
  assert_array_equal(bank.class_of, _CLASS_OF)
  assert bank.alive.all()
  assert np.all(bank.provenance.image == -1)
  other = jax.tree.map(lambda x: np.asarray(x)[::-1], bank)
  after = with_bank(state, other)
  jax.tree.map(assert_array_equal, bank_of(after), other)
  jax.tree.map(assert_array_equal, bank_of(state), bank)
  assert after.buffers["step"] == 4
  assert_array_equal(after.params["head"], 1)
  assert _names(after) == names


def test_arrays_have_the_names_that_earlier_runs_and_shards_know():
  fields = ["image", "cell", "distance", "content", "embedder"]
  assert _names(_state()) == {
    "params.head",
    "params.prototypes.prototypes",
    "buffers.class_of",
    "buffers.alive",
    "buffers.step",
    *(f"buffers.provenance.{name}" for name in fields),
  }


def test_other_vectors_change_nothing_else():
  state = _state()
  after = with_vectors(state, bank_of(state).vectors + 1)
  assert_array_equal(bank_of(after).vectors, bank_of(state).vectors + 1)
  assert after.buffers is state.buffers


def test_a_gradient_goes_to_the_vectors_among_parameters():
  state = _state()
  slope = jax.grad(lambda params: (vectors(params) ** 2).sum())(state.params)
  assert_array_equal(vectors(slope), 2 * bank_of(state).vectors)


def test_a_state_without_provenance_has_a_bank_and_gets_none():
  state = _state()
  kept = {name: state.buffers[name] for name in ("class_of", "alive")}
  state = state.replace(buffers=kept)
  bank = bank_of(state)
  assert bank.provenance is None
  assert set(with_bank(state, bank).buffers) == set(kept)


def test_a_bank_can_hold_axes_and_stacked_arrays():
  bank = bank_of(_state())
  stacked = jax.tree.map(lambda x: np.stack([x, x]), bank)
  alive = jax.jit(jax.vmap(lambda bank: bank.alive.sum(), in_axes=(0,)))
  assert_array_equal(alive(stacked), [3, 3])
  axes = Bank(0, 0, 0, Provenance(0, 0, 0, 0, None))
  assert jax.tree.leaves(axes) == [0] * 7
