"""Sweeps over two devices against plain sums."""

import socket
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import parallel
from protojax.types import UserError


def _batches(count=5, rows=4):
  rng = np.random.default_rng(0)
  return [
    {"x": rng.normal(size=(rows, 3)).astype(np.float32)} for _ in range(count)
  ]


def _total(state, carry, batch):
  return carry + state * jnp.sum(batch["x"], 0)


def test_fold_keeps_one_carry_per_device():
  batches = _batches()
  carries = parallel.fold(
    _total, np.float32(2), np.zeros(3, np.float32), batches
  )
  assert carries.shape == (2, 3)
  first = 2 * sum(b["x"][:2].sum(0) for b in batches)
  np.testing.assert_allclose(carries[0], first, rtol=1e-5)
  whole = 2 * sum(b["x"].sum(0) for b in batches)
  np.testing.assert_allclose(carries.sum(0), whole, rtol=1e-5)


def _squares(state, batch):
  return batch["x"] ** 2 + state


def test_each_gives_rows_in_order_with_their_batch():
  batches = _batches()
  found = list(parallel.each(_squares, np.float32(1), batches))
  assert len(found) == len(batches)
  for given, (batch, rows) in zip(batches, found, strict=True):
    np.testing.assert_array_equal(batch["x"], given["x"])
    np.testing.assert_allclose(rows, given["x"] ** 2 + 1, rtol=1e-6)


def test_each_gives_back_what_is_no_pixels_or_is_asked_for():
  batch = {
    "x": np.ones((4, 3), np.float32),
    "copies": np.arange(4),
    "mask": np.ones((4, 5, 5), np.int32),
    "words": {"tokens": np.ones((4, 7)), "valid": np.ones((4, 7), bool)},
    "image": np.ones((4, 5, 5, 3), np.uint8),
    "left": np.ones((4, 5, 5, 3), np.uint8),
    "things": {
      "masks": np.ones((4, 2, 5, 5), bool),
      "classes": np.ones((4, 2)),
    },
  }
  pixels = {"image", "left", "things"}
  ((found, _),) = parallel.each(_squares, np.float32(1), [batch])
  assert set(found) == set(batch) - pixels
  for keep in (["left"], ["things", "image"]):
    ((found, _),) = parallel.each(_squares, np.float32(1), [batch], keep)
    assert set(found) == set(batch) - pixels | set(keep)
    for name in found:
      jax.tree.map(np.testing.assert_array_equal, found[name], batch[name])


def test_a_step_is_compiled_once_for_many_sweeps():
  traced = []

  def step(state, carry, batch):
    traced.append(1)
    return carry + jnp.sum(batch["x"]) * state

  for _ in range(3):
    parallel.fold(step, np.float32(1), np.float32(0), _batches())
  assert len(traced) == 1


def test_shard_and_unshard():
  batch = {"x": np.arange(12).reshape(6, 2)}
  split = parallel.shard(batch)
  assert split["x"].shape == (2, 3, 2)
  np.testing.assert_array_equal(parallel.unshard(split)["x"], batch["x"])
  with pytest.raises(UserError, match="batch_size 5 does not divide over 2"):
    parallel.shard({"x": np.zeros(5)})


def test_gather_and_psum_inside_a_step():
  def step(x):
    return parallel.gather(x), parallel.psum(jnp.sum(x))

  x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
  whole, total = parallel.pmap(step, in_axes=(0,), out_axes=None)(x)
  np.testing.assert_array_equal(whole, x.ravel())
  assert float(total) == x.sum()


def test_scattered_sums_and_exchanges_are_of_the_own_rows():
  def step(x):
    return parallel.scatter_sum(x), parallel.exchange(x)

  x = np.arange(24.0, dtype=np.float32).reshape(2, 4, 3)
  sums, exchanged = parallel.pmap(step, in_axes=(0,), out_axes=0)(x)
  np.testing.assert_array_equal(sums.reshape(4, 3), x.sum(0))
  # [own slice, who found it, rows]
  np.testing.assert_array_equal(exchanged, x.reshape(2, 2, 2, 3).swapaxes(0, 1))


_SPLIT = {"head.weight": 1, "rows": 0}


def _tree():
  rng = np.random.default_rng(0)

  def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)

  return {
    "head": {"weight": normal(3, 4), "overweight": normal(2)},
    "moments": [{"head": {"weight": normal(3, 4)}}],
    "rows": normal(6),
  }


def test_devices_hold_parts_of_what_is_split():
  tree = _tree()
  placed = parallel.distribute(tree, _SPLIT)
  assert placed["moments"][0]["head"]["weight"].shape == (3, 2, 2)
  for number, shard in enumerate(placed["head"]["weight"].addressable_shards):
    part = tree["head"]["weight"][:, 2 * number : 2 * number + 2]
    np.testing.assert_array_equal(shard.data[:, 0], part)
  assert placed["head"]["overweight"].is_fully_replicated
  back = parallel.to_host(placed, _SPLIT)
  jax.tree.map(np.testing.assert_array_equal, back, tree)


def _rows_taken_in(state, carry, batch):
  return carry + state["rows"] * jnp.sum(parallel.gather(batch["x"]))


def test_fold_joins_a_carry_that_is_split():
  state, batches = _tree(), _batches()
  carry = parallel.fold(
    _rows_taken_in, state, np.zeros(6, np.float32), batches, _SPLIT
  )
  total = sum(batch["x"].sum() for batch in batches)
  np.testing.assert_allclose(carry, [state["rows"] * total], rtol=1e-4)


def test_example_keys_do_not_depend_on_the_slice():
  key = parallel.key(0)
  whole = parallel.example_keys(key, np.arange(6))
  part = parallel.example_keys(key, np.arange(3, 6))
  data = jax.random.key_data
  np.testing.assert_array_equal(data(whole)[3:], data(part))
  assert len(np.unique(data(whole), axis=0)) == 6


def test_replicate_puts_a_copy_on_every_device():
  x = parallel.replicate(np.arange(3))
  assert len(x.addressable_shards) == 2
  assert parallel.replicate(x) is x


@pytest.fixture
def cluster(monkeypatch):
  """Sets the variables that processes find each other by."""

  def variables(address, count, index):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", address)
    monkeypatch.setenv("JAX_NUM_PROCESSES", count)
    monkeypatch.setenv("JAX_PROCESS_ID", index)

  return variables


@pytest.mark.parametrize(
  ("variables", "message"),
  [
    (("host:1234", "two", "0"), "JAX_NUM_PROCESSES=two is not a number"),
    (("host:1234", "2", "-1"), "JAX_PROCESS_ID=-1 is not a number"),
    (("host", "2", "0"), "ADDRESS=host is not HOST:PORT"),
    (("host:99999", "2", "1"), "ADDRESS=host:99999 is not HOST:PORT"),
  ],
)
def test_wrong_variables_of_a_cluster_are_named(cluster, variables, message):
  cluster(*variables)
  with pytest.raises(UserError, match=message):
    parallel.setup(distributed=True)


def _free_port():
  with socket.socket() as listener:
    listener.bind(("localhost", 0))
    return listener.getsockname()[1]


def test_a_coordinator_that_does_not_answer(cluster, monkeypatch):
  monkeypatch.setattr(parallel.processes, "_COORDINATOR_SECONDS", 0.1)
  cluster(f"localhost:{_free_port()}", "2", "1")
  with pytest.raises(UserError, match=r"no process 0 answers at .*localhost"):
    parallel.setup(distributed=True)


def test_a_cluster_that_jax_refuses(cluster, monkeypatch):
  def refuse(*arguments):
    raise RuntimeError("Failed to start RPC server")

  monkeypatch.setattr(jax.distributed, "initialize", refuse)
  cluster("localhost:1234", "2", "0")
  with pytest.raises(UserError, match=r"Failed to start.*Leave the flag out"):
    parallel.setup(distributed=True)


def test_without_a_cluster_the_way_out_is_named(monkeypatch):
  for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES"):
    monkeypatch.delenv(name, raising=False)
  with pytest.raises(UserError, match="Leave the flag out"):
    parallel.setup(distributed=True)


def test_a_cache_of_programs_on_a_full_disk_is_silent():
  with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    parallel.setup()
    for verb in ("reading", "writing"):
      text = f"Error {verb} persistent compilation cache entry for 'jit_f'"
      warnings.warn(text, UserWarning, stacklevel=1)
    warnings.warn("another", UserWarning, stacklevel=1)
  assert [str(one.message) for one in seen] == ["another"]
