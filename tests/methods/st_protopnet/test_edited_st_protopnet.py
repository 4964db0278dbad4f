"""ST-ProtoPNet after edits: each branch has the best head by its own logits."""

import dataclasses

import jax
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax.engine import convex, head_solver
from protojax.interact import edits as edits_lib
from protojax.interact.editing import Editor
from protojax.prototypes.bank import bank_of
from tests.methods.st_protopnet.st_models import BOTH, begun, made

_GONE = 1


@pytest.fixture(scope="module")
def editor():
  method = made()
  edits = method.capabilities.edits(method)
  # A ridge that ends the search soon.
  solver = dataclasses.replace(edits.solver, ridge=0.03)
  return Editor(
    dataclasses.replace(edits, solver=solver),
    begun(),
    method.stream("test"),
    lambda: method.stream("train"),
  )


def _alone(editor, weight, branch, alive):
  """The head of one branch, solved as if there were no other."""
  state, solver = editor.state, editor.edits.solver
  own = np.split(np.arange(len(alive)), BOTH)[branch]
  class_of = np.asarray(bank_of(state).class_of)[own]
  data = [
    {**batch, "scores": np.asarray(batch["scores"])[..., own]}
    for batch in editor._kept.batches
  ]
  to_own = np.arange(len(weight))[:, None] == class_of
  living = np.tile(alive[own], (len(weight), 1)).astype(np.float32)
  found = convex.solve(
    head_solver.ScoreLoss(len(weight)),
    {"weight": weight[:, own]},
    {"class_of": class_of, "alive": alive[own]},
    data,
    convex.Penalty(
      {"weight": living},
      {"weight": solver.l1[branch] * (living * ~to_own)},
      {"weight": to_own},
      solver.ridge,
    ),
    solver.steps,
    solver.tolerance,
  )
  return found.params["weight"], own


@pytest.mark.slow
def test_each_branch_is_solved_by_its_own_logits(editor):
  removed = edits_lib.parse(
    [{"edit": "remove", "prototypes": [_GONE], "reason": "background"}]
  )
  edited = editor(removed)
  weight = edited.state.params["head"]["weight"]
  start = editor.state.params["head"]["weight"]
  for branch in range(BOTH):
    expected, own = _alone(editor, start, branch, edited.effect.alive)
    assert_allclose(weight[:, own], expected, atol=1e-4)
  # The branch that lost nothing has the head that it had without the edit.
  solved = editor.edits.solved(
    editor.state, editor._kept, editor.model.forbidden
  ).params["head"]["weight"]
  _, other = np.split(np.arange(len(bank_of(editor.state).alive)), BOTH)
  assert_array_equal(weight[:, other], solved[:, other])
  # Only the head has changed.
  for name, group in edited.state.params.items():
    if name != "head":
      jax.tree.map(assert_array_equal, group, editor.state.params[name])


@pytest.mark.slow
def test_answers_are_those_of_the_model(editor):
  method = made()
  edited = editor(
    edits_lib.parse(
      [{"edit": "remove", "prototypes": [_GONE], "reason": "wrong"}]
    )
  )
  predict, found = jax.jit(method.predict), []
  for batch in method.stream("test").batches():
    shown = predict(edited.state, batch)["probabilities"]
    found.append(np.asarray(shown)[np.asarray(batch["valid"])])
  assert_allclose(
    edited.answers.probabilities, np.concatenate(found), atol=1e-5
  )
