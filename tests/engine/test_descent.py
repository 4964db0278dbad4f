"""Gradient descent over devices: reductions, cached rows, frozen groups."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from protojax import parallel
from protojax.data import stream as stream_lib
from protojax.engine import descent
from protojax.engine import stage as stages
from protojax.engine.cached import Cached
from protojax.engine.optimizer import grouped
from protojax.engine.terms import Aux, Term, of_whole_batch
from protojax.types import State, UserError


def _state(seed=0):
  rng = np.random.default_rng(seed)

  def normal(*s):
    return 0.1 * rng.normal(size=s).astype(np.float32)

  return State(
    params={"body": normal(3, 4), "head": normal(4, 3)},
    statistics={"seen": np.float32(0)},
    buffers={},
  )


def _body(state, batch, params=None):
  pixels = batch["image"].astype("float32").mean((1, 2)) / 255
  return jnp.tanh(pixels @ (params or state.params)["body"])


def _rows(state, batch):
  return {"hidden": _body(state, batch)}


def _loss(params, state, batch, now, weighted=True):
  del now
  hidden = batch["hidden"] if "hidden" in batch else _body(state, batch, params)
  terms = optax.softmax_cross_entropy_with_integer_labels(
    hidden @ params["head"], batch["label"]
  )
  # Rows count unequally, so that a mean of means would be wrong.
  weight = 1.0 + weighted * batch["label"].astype("float32")
  seen = state.statistics["seen"] + parallel.psum(jnp.sum(weight))
  count = jnp.sum(weight)
  return (
    {"entropy": Term(jnp.sum(terms * weight), count)},
    Aux({"seen": seen}, metrics={"hits": Term(count, count)}),
  )


def _fit(source, groups, length, rows=None, **kwargs):
  data = stream_lib.shuffled(source, 16, 8, seed=1, **kwargs)
  cached = None if rows is None else Cached(rows)
  return stages.Fit("fit", _loss, data, grouped(groups), length, cached)


def _run(fit, state, start=0, optimizer_state=None, **kwargs):
  if optimizer_state is None:
    optimizer_state = fit.optimizer.init(state.params)
  key = parallel.key(0)
  updates = descent.fit(fit, state, optimizer_state, key, start, **kwargs)
  return [parallel.to_host(update) for update in updates]


def test_steps_equal_whole_batches_on_one_device(array_source):
  """psum / psum over two devices is the gradient of the whole batch."""
  fit = _fit(array_source(), {"body": 0.01, "head": 0.02}, stages.steps(5))
  state = _state()
  updates = _run(fit, state)
  params, moments = state.params, fit.optimizer.init(state.params)

  def mean(params, batch):
    terms = optax.softmax_cross_entropy_with_integer_labels(
      _body(None, batch, params) @ params["head"], batch["label"]
    )
    weight = 1.0 + batch["label"]
    return jnp.sum(terms * weight) / jnp.sum(weight)

  @jax.jit
  def step(params, moments, batch):
    value, gradients = jax.value_and_grad(mean)(params, batch)
    change, moments = fit.optimizer.update(gradients, moments, params)
    return value, optax.apply_updates(params, change), moments

  for update, batch in zip(updates, fit.data.batches(0, 5), strict=True):
    value, params, moments = step(params, moments, batch)
    np.testing.assert_allclose(update.metrics["loss"], value, rtol=1e-5)
  for name in params:
    np.testing.assert_allclose(
      updates[-1].state.params[name], params[name], atol=1e-5
    )


def test_replicas_stay_equal(array_source):
  fit = _fit(array_source(), {"body": 0.01, "head": 0.02}, stages.epochs(2))
  state = _state()
  for update in descent.fit(
    fit, state, fit.optimizer.init(state.params), parallel.key(0)
  ):
    last = update
  assert jax.device_count() == 2
  for leaf in jax.tree.leaves((last.state, last.optimizer_state)):
    first, second = (np.asarray(s.data) for s in leaf.addressable_shards)
    np.testing.assert_array_equal(first, second)


def test_cached_rows_gives_the_same_steps(array_source):
  fit = _fit(array_source(), {"head": 0.02}, stages.epochs(2), _rows)
  cached = _run(fit, _state())
  too_large = Cached(_rows, limit=0)
  fresh = _run(dataclasses.replace(fit, cached=too_large), _state())
  for a, b in zip(cached, fresh, strict=True):
    np.testing.assert_allclose(
      a.state.params["head"], b.state.params["head"], atol=1e-6
    )
    np.testing.assert_array_equal(
      a.state.params["body"], _state().params["body"]
    )


def test_cached_rows_reads_no_image(array_source, monkeypatch):
  fit = _fit(array_source(), {"head": 0.02}, stages.epochs(1), _rows)
  asked = []
  batches = stream_lib.Stream.batches

  def spy(stream, *args, **kwargs):
    asked.append((stream.seed, kwargs.get("read_images", True)))
    return batches(stream, *args, **kwargs)

  monkeypatch.setattr(stream_lib.Stream, "batches", spy)
  _run(fit, _state())
  assert asked == [(None, True), (1, False)]


def test_rows_behind_random_images_is_not_cached(array_source):
  fit = _fit(
    array_source(), {"head": 0.02}, stages.epochs(1), _rows, augment="flip"
  )
  updates = _run(fit, _state())
  assert len(updates) == fit.data.steps_per_epoch


def test_resumed_steps_are_bitwise_the_same(array_source):
  fit = _fit(
    array_source(),
    {"body": 0.01, "head": 0.02},
    stages.epochs(3),
    augment="crop,flip",
  )
  whole = _run(fit, _state())
  middle = whole[3]
  rest = _run(fit, middle.state, 4, middle.optimizer_state)
  assert len(rest) == len(whole) - 4
  for a, b in zip(whole[4:], rest, strict=True):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_after_step_runs_after_every_update(array_source):
  fit = _fit(array_source(), {"head": 0.02}, stages.steps(3))

  def clip(s):
    return s.replace(
      params={**s.params, "head": jnp.clip(s.params["head"], -0.01, 0.01)}
    )

  fit = dataclasses.replace(fit, after_step=clip)
  for update in _run(fit, _state()):
    assert np.abs(update.state.params["head"]).max() <= np.float32(0.01)


def test_batch_that_does_not_divide_is_refused(array_source):
  data = stream_lib.shuffled(array_source(), 16, 7, seed=1)
  fit = stages.Fit("fit", _loss, data, grouped({"head": 0.1}), stages.steps(1))
  with pytest.raises(UserError, match="batch_size 7 does not divide over 2"):
    _run(fit, _state())


def test_accumulated_batches_add_up_to_the_batch(array_source):
  """Also of images changed at random, since noise follows the example."""
  fit = _fit(
    array_source(),
    {"body": 0.01, "head": 0.02},
    stages.steps(3),
    augment="flip",
  )
  plain = functools.partial(_loss, weighted=False)
  fit = dataclasses.replace(fit, loss=plain)
  whole = _run(fit, _state())
  parts = _run(dataclasses.replace(fit, accumulate=4), _state())
  for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
  # Running averages have seen every part.
  assert parts[-1].state.statistics["seen"] > 0


def test_a_term_whose_count_depends_on_the_data_is_a_mean_by_part(array_source):
  """As in PyTorch, where each part is divided by its own count."""
  fit = _fit(array_source(), {"head": 0.0}, stages.steps(1))
  fit = dataclasses.replace(fit, accumulate=2)
  (update,) = _run(fit, _state())
  batch = next(fit.data.batches(0, 1))
  logits = np.asarray(_body(_state(), batch) @ _state().params["head"])
  labels = batch["label"]
  entropy = np.log(np.exp(logits).sum(1)) - logits[range(8), labels]
  weight = 1.0 + labels
  # Two devices with four images each, in two parts.
  parts = [[0, 1, 4, 5], [2, 3, 6, 7]]
  means = [np.average(entropy[p], weights=weight[p]) for p in parts]
  np.testing.assert_allclose(update.metrics["loss"], np.mean(means), rtol=1e-5)


def test_a_term_of_the_whole_batch_cannot_be_accumulated(array_source):
  def loss(params, state, batch, now):
    del state, batch, now
    return {"contrast": of_whole_batch(jnp.sum(params["head"]))}, Aux()

  fit = _fit(array_source(), {"head": 0.1}, stages.steps(1))
  fit = dataclasses.replace(fit, loss=loss, accumulate=2)
  with pytest.raises(UserError, match=r"accumulate=2 cuts.*whole.*contrast"):
    _run(fit, _state())


def test_batch_that_does_not_divide_by_accumulate_is_refused(array_source):
  fit = _fit(array_source(), {"head": 0.1}, stages.steps(1))
  fit = dataclasses.replace(fit, accumulate=3)
  with pytest.raises(UserError, match="2 devices and accumulate=3 batches"):
    _run(fit, _state())


def test_length_in_epochs_and_steps():
  assert stages.epochs(3).steps(7) == 21
  assert stages.steps(3).steps(7) == 3


def test_several_streams_come_by_name_and_the_first_sets_the_epoch(
  array_source,
):
  few = stream_lib.shuffled(array_source(8, seed=1), 16, 4, seed=2)
  many = stream_lib.shuffled(array_source(24), 16, 8, seed=1)

  def loss(params, state, batch, now):
    del state
    one, other = batch["many"], batch["few"]
    return (
      {
        "many": Term(jnp.sum(params["w"] * one["index"]), len(one["index"])),
        "few": Term(jnp.sum(other["index"] ** 2), 4 / 2, now.share),
      },
      Aux(metrics={"step": Term(now.step, 1)}),
    )

  data = {"many": many, "few": few}
  fit = stages.Fit("fit", loss, data, optax.sgd(0.1), stages.epochs(2))
  assert (fit.steps_per_epoch, fit.total_steps, fit.batch_size) == (3, 6, 12)
  state = State({"w": np.float32(1)}, {}, {})
  updates, w = _run(fit, state), 1.0
  batches = many.batches(0, 6), few.batches(0, 6)
  for number, (a, b, update) in enumerate(zip(*batches, updates, strict=True)):
    mean, square = a["index"].mean(), (b["index"] ** 2.0).sum() / 4
    found = update.metrics
    np.testing.assert_allclose(found["many"], w * mean, rtol=1e-5)
    np.testing.assert_allclose(found["few"], square, rtol=1e-5)
    expected = w * mean + number / 6 * square
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)
    assert found["step"] == number
    w -= 0.1 * mean
    np.testing.assert_allclose(update.state.params["w"], w, rtol=1e-5)


def test_rows_of_a_varied_stream_are_made_of_each_view(array_source):
  views = {"plain": "flip", "other": "plain+colour"}
  data = stream_lib.shuffled(array_source(), 16, 8, seed=1, views=views)

  def loss(params, state, batch, now):
    del state, now
    hidden = batch["plain"]["hidden"] + batch["other"]["hidden"]
    return {"sum": Term(jnp.sum(hidden @ params["head"]), len(hidden))}, Aux()

  optimizer = grouped({"head": 0.1})
  length = stages.steps(1)
  fit = stages.Fit("fit", loss, data, optimizer, length, Cached(_rows))
  (update,) = _run(fit, _state())
  assert np.isfinite(update.metrics["sum"])


def test_a_mean_of_gathered_rows_has_the_gradient_of_the_whole_batch(
  array_source,
):
  fit = _fit(array_source(), {"body": 0.1}, stages.steps(1))

  def contrast(rows, labels):
    same = labels[:, None] == labels[None]
    return jnp.mean((rows @ rows.T - same) ** 2)

  def loss(params, state, batch, now):
    del now
    rows = _body(state, batch, params), batch["label"]
    value = contrast(*parallel.gather(rows))
    return {"contrast": of_whole_batch(value)}, Aux()

  fit = dataclasses.replace(fit, loss=loss, optimizer=optax.sgd(1.0))
  (update,) = _run(fit, _state())
  batch = next(fit.data.batches(0, 1))

  def whole(params):
    return contrast(_body(None, batch, params), batch["label"])

  value, gradient = jax.value_and_grad(whole)(_state().params)
  np.testing.assert_allclose(update.metrics["contrast"], value, rtol=1e-6)
  moved = _state().params["body"] - update.state.params["body"]
  np.testing.assert_allclose(moved, gradient["body"], atol=1e-6)


def test_a_stage_takes_the_examples_that_its_state_chose(array_source):
  fit = _fit(array_source(), {"head": 0.1}, stages.steps(3), rows=None)
  count = len(fit.data)

  def redraw(state, data):
    return dataclasses.replace(data, rows=state.buffers["rows"])

  rows = np.arange(count, dtype=np.int32) % 5
  state = _state().replace(buffers={"rows": rows})
  found = _run(dataclasses.replace(fit, redraw=redraw), state)
  expected = _run(
    dataclasses.replace(fit, data=dataclasses.replace(fit.data, rows=rows)),
    state,
  )
  other = _run(fit, state)
  for a, b in zip(found, expected, strict=True):
    assert a.metrics["loss"] == b.metrics["loss"]
  assert found[-1].metrics["loss"] != other[-1].metrics["loss"]
  longer = dataclasses.replace(fit, length=stages.epochs(1), redraw=redraw)
  more = state.replace(buffers={"rows": np.tile(rows, 3)})
  with pytest.raises(ValueError, match=r"'fit' has \d+ steps, and \d+ with"):
    _run(longer, more)


@pytest.mark.parametrize("after", ["varied", "too large"])
def test_rows_after_others_are_made_without_them_where_they_must(
  array_source, after
):
  """Each stands on the rows before it, which are not there then."""

  def means(state, batch):
    return {"mean": batch["image"].astype("float32").mean((1, 2)) / 255}

  def hidden(state, batch):
    return {"hidden": jnp.tanh(batch["mean"] @ state.params["body"])}

  first = Cached(means, limit=0 if after == "too large" else 1 << 30)
  augment = {"augment": "flip"} if after == "varied" else {}
  fit = _fit(array_source(), {"head": 0.1}, stages.steps(1), **augment)
  fit = dataclasses.replace(fit, cached=Cached(hidden, after=first))
  (found,) = _run(fit, _state())
  fit = dataclasses.replace(fit, cached=Cached(_rows))
  (expected,) = _run(fit, _state())
  np.testing.assert_allclose(
    found.metrics["loss"], expected.metrics["loss"], rtol=1e-5
  )


@pytest.mark.parametrize(
  ("terms", "metrics"), [({"loss": 1.0}, {}), ({"a": 1.0}, {"a": 2.0})]
)
def test_a_name_that_comes_twice_is_refused(array_source, terms, metrics):
  def loss(params, state, batch, now):
    named = {n: Term(x * jnp.sum(params["head"]), 1) for n, x in terms.items()}
    return named, Aux(metrics={n: Term(x, 1) for n, x in metrics.items()})

  fit = _fit(array_source(), {"head": 0.1}, stages.steps(1))
  with pytest.raises(ValueError, match=r"'fit' gives .* twice"):
    _run(dataclasses.replace(fit, loss=loss), _state())


def test_every_round_and_seed_runs_one_program(array_source):
  """The key is no constant of it."""
  fit = _fit(array_source(), {"head": 0.1}, stages.steps(1), augment="flip")
  moments = fit.optimizer.init(_state().params)
  batch = parallel.shard(next(fit.data.batches(0, 1)))
  texts = {
    descent.mapped(fit, _state(), moments, parallel.key(seed))
    .lower(_state(), moments, batch, np.int32(0))
    .as_text()
    for seed in range(2)
  }
  assert len(texts) == 1
