"""ProtoPNet after edits: the head is that of training without a prototype."""

import dataclasses

import jax
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax.interact import edits as edits_lib
from protojax.interact.editing import Editor
from protojax.prototypes.bank import bank_of, with_bank
from protojax.types import UserError

_GONE = 4


@pytest.fixture(scope="module")
def method(make_method):
  # A ridge that ends the search soon.
  return make_method(**{"last.ridge": 0.03, "last.steps": 300})


@pytest.fixture(scope="module")
def editor(method, make_state):
  return Editor(
    method.capabilities.edits(method),
    make_state(method),
    method.stream("test"),
    lambda: method.stream("train"),
  )


def _edits(*content):
  return edits_lib.parse(list(content))


def _removed(*prototypes):
  return _edits(
    {"edit": "remove", "prototypes": list(prototypes), "reason": "wrong"}
  )


def _forbidden(of_class, *prototypes):
  one = {"edit": "forbid", "prototypes": list(prototypes), "class": of_class}
  return _edits(one)


def _trained_anew(method, state, alive):
  """By the stage of training, with these prototypes alive."""
  bank = bank_of(state)
  state = with_bank(state, dataclasses.replace(bank, alive=alive))
  stage = next(s for s in method.stages() if s.name == "last layer")
  return stage.sweep(state, stage.data)[0]


def _logits(method, state):
  predict = jax.jit(method.predict)
  found = []
  for batch in method.stream("test").batches():
    logits = np.asarray(predict(state, batch)["logits"])
    found.append(logits[np.asarray(batch["valid"])])
  return np.concatenate(found)


def test_a_removal_is_training_anew_with_that_prototype_dead(
  method, editor, make_state
):
  edited = editor(_removed(_GONE))
  alive = np.arange(6) != _GONE
  anew = _trained_anew(method, make_state(method), alive)
  logits = _logits(method, edited.state)
  assert_allclose(logits, _logits(method, anew), atol=1e-5)
  # Kept scores give the answers that images give.
  shown = np.exp(logits - logits.max(1, keepdims=True))
  shown /= shown.sum(1, keepdims=True)
  assert_allclose(edited.answers.probabilities, shown, atol=1e-5)
  # And the prototype had a say before.
  before = _trained_anew(method, make_state(method), np.ones(6, bool))
  assert np.abs(logits - _logits(method, before)).max() > 1e-3


def test_without_edits_the_model_is_as_it_was(editor, method, make_state):
  state = make_state(method)
  assert_array_equal(
    editor(()).state.params["head"]["weight"], state.params["head"]["weight"]
  )
  # Undoing an edit is asking without it.
  editor(_removed(_GONE))
  assert editor(()).answers is editor.before


def test_forbidden_for_all_classes_is_thrown_out(editor):
  names = editor.edits.class_names
  effect = editor.check(_forbidden(names[0], _GONE))
  forbidden = effect.forbidden.copy()
  forbidden[:, _GONE] = True
  gone = editor.edits.solved(editor.state, editor._kept, forbidden)
  expected = editor(_removed(_GONE)).state.params["head"]["weight"]
  weight = np.asarray(gone.params["head"]["weight"])
  assert_array_equal(weight[:, _GONE], 0)
  others = np.arange(6) != _GONE
  assert_allclose(weight[:, others], expected[:, others], atol=1e-5)


def test_a_forbidden_weight_is_0_and_the_others_are_the_best(editor):
  """No small change of another weight lowers the loss."""
  name = editor.edits.class_names[2]
  edited = editor(_forbidden(name, 0))
  weight = np.float64(edited.state.params["head"]["weight"])
  assert weight[2, 0] == 0
  (batch,) = editor._kept.batches
  flat = {k: np.asarray(batch[k]).reshape(-1) for k in ("label", "valid")}
  scores = np.float64(np.asarray(batch["scores"]).reshape(-1, 6))
  scores, labels = scores[flat["valid"]], flat["label"][flat["valid"]]
  own = np.arange(3)[:, None] == np.asarray(bank_of(editor.state).class_of)
  solver = editor.edits.solver

  def loss(weight):
    logits = scores @ weight.T
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    l1 = solver.l1[0] * np.abs(weight[~own]).sum()
    ridge = solver.ridge / 2 * np.sum((weight - own) ** 2)
    return -logs[np.arange(len(labels)), labels].mean() + l1 + ridge

  best = loss(weight)
  for place in np.ndindex(weight.shape):
    for step in (-0.02, 0.02):
      moved = weight.copy()
      moved[place] += step
      # The forbidden weight would rather not be 0: it may go either way.
      assert place == (2, 0) or loss(moved) > best - 1e-7, place


def test_of_merged_prototypes_the_first_stays(editor):
  """It takes over what the others said, as far as it is worth."""
  merged = editor(_edits({"edit": "merge", "prototypes": [_GONE + 1, _GONE]}))
  expected = editor(_removed(_GONE))
  assert_array_equal(merged.effect.alive, np.arange(6) != _GONE)
  assert_array_equal(
    merged.state.params["head"]["weight"],
    expected.state.params["head"]["weight"],
  )


def test_earlier_edits_stay(method, editor, make_state):
  name = editor.edits.class_names[1]
  earlier = _forbidden(name, 0)
  later = Editor(
    editor.edits,
    editor(earlier).state,
    method.stream("test"),
    lambda: method.stream("train"),
    earlier,
  )
  weight = later(_removed(_GONE)).state.params["head"]["weight"]
  assert weight[1, 0] == 0
  assert later.digest != editor.digest


@pytest.mark.slow
def test_one_class_alone_takes_a_weight_of_its_own(make_method, make_state):
  method = make_method(**{"prototypes.head": "class_block", "last.ridge": 0.03})
  editor = Editor(
    method.capabilities.edits(method),
    make_state(method),
    method.stream("test"),
    lambda: method.stream("train"),
  )
  assert not editor(_removed(_GONE)).effect.alive[_GONE]
  with pytest.raises(UserError, match="head=dense"):
    editor(_forbidden(editor.edits.class_names[1], 0))
