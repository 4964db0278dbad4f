"""ST-ProtoPNet: its losses, whose turn it is, and what a push leaves."""

import dataclasses
import functools
import itertools

import jax
import numpy as np
import pytest

from protojax import parallel
from protojax.engine import descent
from protojax.engine import stage as stages
from protojax.explain import evidence
from protojax.explain.request import Request
from protojax.methods import base
from protojax.methods.st_protopnet import boundary, branches
from protojax.modify import presets
from protojax.prototypes import push
from protojax.types import UserError
from tests.common import terms
from tests.methods.st_protopnet.st_models import BOTH, begun, fit, made


@functools.cache
def pushed():
  return made(), *made().push(begun(), made().stream("train"))


def updates(method, name, state, steps):
  """The state and the optimiser's after each of some steps of a stage."""
  stage = dataclasses.replace(fit(method, name), length=stages.steps(steps))
  moments = stage.optimizer.init(state.params)
  yield parallel.to_host((state, moments))
  for update in descent.fit(stage, state, moments, parallel.key(1)):
    yield parallel.to_host((update.state, update.optimizer_state))


def halves(state):
  """What belongs to each branch alone."""
  p = state.params
  bank, weight = p["prototypes"]["prototypes"], p["head"]["weight"]
  return [
    [
      np.split(bank, BOTH)[b],
      np.split(weight, BOTH, 1)[b],
      *(x[b] for x in jax.tree.leaves(p["add_on"])),
    ]
    for b in range(BOTH)
  ]


def same(a, b):
  return [
    np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  ]


def test_it_is_a_method_that_all_commands_know():
  method = made()
  assert base.able(method, "explains").network is method.network
  assert base.able(method, "classifies") is method.network
  names = [s.name for s in method.stages()]
  assert names == ["start", "warm", "joint", "push", "last layer"]


@pytest.mark.parametrize("name", ["warm", "last layer"])
def test_the_branch_that_rests_keeps_every_bit(name):
  """Parameters, moments and counts, by the number of the step over all."""
  method, state, _ = pushed()
  # One step was done before this stage: the support branch begins.
  state = state.replace(buffers={**state.buffers, "step": np.int32(1)})
  seen = list(updates(method, name, state, 3))
  for number, (old, new) in enumerate(itertools.pairwise(seen), 1):
    turn = number % BOTH
    assert new[0].buffers["step"] == number + 1
    assert all(same(halves(old[0])[1 - turn], halves(new[0])[1 - turn]))
    assert not all(same(halves(old[0])[turn], halves(new[0])[turn]))
    rested = jax.tree.map(lambda x, t=turn: x[1 - t], (old[1], new[1]))
    assert all(same(*rested))
    length = np.linalg.norm(new[0].params["prototypes"]["prototypes"], axis=-1)
    np.testing.assert_allclose(length, 1, atol=1e-6)
  # Training the heads leaves the push as it is.
  assert push.stale(new[0]) == (name == "warm")


def expected_loss(method, state, batch, kind, cosine, scores):
  """Section 4 of the spec in loops."""
  b, c = method.kinds.index(kind), method.config[kind]
  labels, count = batch["label"], len(batch["label"])
  class_of = np.asarray(state.buffers["class_of"])
  mine = np.arange(len(class_of)) // (len(class_of) // BOTH) == b
  weight = state.params["head"]["weight"] * mine
  logits = np.float64(scores) @ weight.T
  entropy = np.log(np.exp(logits).sum(1)) - logits[range(count), labels]
  own = (labels[:, None] == class_of[None]) & mine
  other = (labels[:, None] != class_of[None]) & mine
  cluster = np.where(own, cosine, -np.inf).max(1)
  separation = np.where(other, cosine, -np.inf).max(1)
  rows = state.params["prototypes"]["prototypes"][mine, 0, 0]
  classes = [rows[class_of[mine] == k] for k in range(3)]
  orthogonality = sum(np.abs(p @ p.T - np.eye(len(p))).sum() for p in classes)
  pairs = [
    classes[k] @ classes[n].T for k in range(3) for n in range(3) if k != n
  ]
  if kind == "trivial":
    between = c.discrimination * np.mean([x.max() for x in pairs])
  else:
    between = -c.closeness * np.mean([x.min() for x in pairs])
  off = (np.arange(3)[:, None] != class_of[None]) & mine
  fixed = (
    c.orthogonality * orthogonality
    + between
    + c.l1 * np.abs(state.params["head"]["weight"][off]).sum()
  )
  return (
    entropy
    + c.cluster * (1 - cluster)
    # Cosines: away from other classes' prototypes. The term is of distances.
    + c.separation * (1 - separation)
    + fixed
  ).mean()


@pytest.mark.parametrize("similarity", ["cosine", "projection"])
def test_loss_is_the_sum_of_its_terms_for_the_branch_whose_turn_it_is(
  similarity,
):
  method = made(**{"prototypes.similarity": similarity})
  state = begun()
  batch = next(method.stream("train").batches())
  z = np.asarray(jax.jit(method.network.embed)(state, batch["image"]))
  flat = state.params["prototypes"]["prototypes"][:, 0, 0]
  unit = np.asarray(jax.jit(branches.directions, static_argnums=1)(z, BOTH))
  cosine = np.einsum("bhwd,pd->bphw", unit, flat).max((2, 3))
  scores = cosine
  if similarity == "projection":
    scores = np.einsum("bhwd,pd->bphw", z, flat).max((2, 3))
  loss = jax.jit(method.branch_losses.loss)
  for step, kind in enumerate(method.kinds):
    now = state.replace(buffers={**state.buffers, "step": np.int32(step)})
    found, _ = loss(state.params, now, batch, terms.now())
    expected = expected_loss(method, state, batch, kind, cosine, scores)
    np.testing.assert_allclose(terms.total(found), expected, rtol=1e-4)
  assert set(found) >= {"trivial_discrimination", "support_closeness"}


def test_losses_of_all_branches_are_averaged_if_they_do_not_alternate():
  method, both, state = made(), made(alternate=False), begun()
  batch = next(method.stream("train").batches())
  parts, loss = [], jax.jit(method.branch_losses.last_loss)
  for step in range(BOTH):
    now = state.replace(buffers={**state.buffers, "step": np.int32(step)})
    parts.append(terms.total(loss(state.params, now, batch, terms.now())[0]))
  found, _ = jax.jit(both.branch_losses.last_loss)(
    state.params, state, batch, terms.now()
  )
  np.testing.assert_allclose(terms.total(found), np.mean(parts), rtol=1e-5)


def test_pushed_prototypes_are_directions_of_patches_of_their_class():
  method, state, metrics = pushed()
  source, count = state.buffers["provenance"], len(state.buffers["class_of"])
  assert metrics["pushed"] == count
  images = method.stream("train").examples(source.image)
  np.testing.assert_array_equal(images["label"], state.buffers["class_of"])
  z = np.asarray(jax.jit(method.network.embed)(state, images["image"]))
  patches = z.reshape(count, -1, z.shape[-1])[np.arange(count), source.cell]
  bank = state.params["prototypes"]["prototypes"]
  for b, rows in enumerate(np.split(np.arange(count), BOTH)):
    own = patches[rows, 8 * b : 8 * b + 8]
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    np.testing.assert_allclose(branches.cut(bank, BOTH)[b], own, atol=1e-5)
  np.testing.assert_array_equal(
    branches.diagonal(branches.cut(bank, 2)) != 0, bank != 0
  )


def test_predictions_are_points_of_both_branches():
  method, state, _ = pushed()
  batch = next(method.stream("test").batches())
  rows = jax.jit(method.predict)(state, batch)
  weights = np.asarray(method.network.weights(state))
  points = rows["similarities"][:, None] * weights[None]
  np.testing.assert_allclose(points.sum(-1), rows["logits"], atol=1e-4)
  answer = np.argmax(rows["logits"], 1)
  np.testing.assert_allclose(
    rows["points"], points[np.arange(len(answer)), answer], atol=1e-5
  )


def test_explanations_tell_the_kinds_and_how_far_from_the_boundary():
  method, state, _ = pushed()
  found = list(
    base.able(method, "explains").explain(
      state,
      method.stream("test"),
      Request(
        preset=dataclasses.replace(
          presets.REFERENCE, modifications=presets.REFERENCE.modifications[:1]
        ),
        limit=6,
        shown=0,
        prototypes_shown=0,
      ),
    )
  )
  local = [e for e in found if isinstance(e, evidence.LocalExplanation)]
  prototypes = [e for e in found if isinstance(e, evidence.GlobalExplanation)]
  assert len(local) == 6
  kinds = [e.notes["kind"] for e in prototypes]
  assert kinds == ["trivial"] * 6 + ["support"] * 6
  geometry = method.geometry(state)
  for kind in method.kinds:
    distances = [
      e.notes["boundary distance"]
      for e in prototypes
      if e.notes["kind"] == kind
    ]
    np.testing.assert_allclose(
      np.mean(distances), geometry[kind]["boundary_distance"], rtol=1e-5
    )


def test_a_boundary_is_that_of_the_branch_alone():
  """The same distances if the other branch is turned upside down."""
  method, state, _ = pushed()
  params = state.params
  weight, bank = params["head"]["weight"], params["prototypes"]["prototypes"]
  first = np.arange(len(bank)) < len(bank) // BOTH
  other = {
    "head": {"weight": np.where(first, weight, -3 * weight)},
    "prototypes": {
      "prototypes": np.where(first[:, None, None, None], bank, -bank)
    },
  }
  turned = state.replace(params={**params, **other})
  old, new = (
    boundary.of_state(method.network, s, BOTH) for s in (state, turned)
  )
  np.testing.assert_allclose(old.distance[first], new.distance[first])
  np.testing.assert_allclose(old.margin[first], new.margin[first])
  assert not np.allclose(old.distance[~first], new.distance[~first])


@pytest.mark.slow
def test_a_finer_map_has_more_places_for_prototypes():
  method, plain = made(**{"backbone.upsample": 2}), made().network
  rows, columns = plain.grid
  assert method.network.grid == (2 * rows, 2 * columns)
  state, batch = begun(), next(method.stream("test").batches())
  similarity, cell = jax.jit(
    lambda state, x: method.network.nearest(
      state, method.network.embed(state, x)
    )
  )(state, batch["image"])
  assert similarity.shape == (len(batch["image"]), 12)
  assert np.asarray(cell).max() >= rows * columns
  with pytest.raises(UserError, match=r"backbone\.upsample is 0"):
    made(**{"backbone.upsample": 0})


def test_one_branch_alone_is_a_model():
  method = made(branches="support")
  state = jax.eval_shape(method.init, parallel.init_key(0))
  assert state.params["prototypes"]["prototypes"].shape == (6, 1, 1, 8)
  assert state.params["head"]["weight"].shape == (3, 6)
  ones = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), state)
  assert set(method.geometry(ones)) == {"support"}


@pytest.mark.parametrize("names", ["", "trivial,trivial", "easy"])
def test_branches_that_are_not_there_are_told(names):
  with pytest.raises(UserError, match="such as trivial,support"):
    made(branches=names)
