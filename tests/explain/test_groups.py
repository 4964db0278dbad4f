"""Models whose prototypes have no class, and whose head has a bias."""

import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose
import pytest

from protojax.explain import prototypical, sanity
from protojax.explain.context import Context
from protojax.explain.evidence import (
  GlobalExplanation,
  LocalExplanation,
  Overview,
)
from protojax.explain.request import Request
from protojax.prototypes.groups import Groups
from protojax.report import class_contents, class_pages, page, sentences
from protojax.report.pictures import Pictures
from tests.explain import explain_fakes as fakes

_BIAS = np.array([0.5, -1.0, 0.25], np.float32)


class Concepts(fakes.Colours):
  """Prototypes of four concepts; the score is the mean over the image."""

  groups = Groups("concept", ("warm", "cold", "dark", "pale"))

  def scores(self, state, features, similarity):
    maps = self._similarity(state, features)
    return maps.mean(axis=1)

  def bias(self, state):
    return jnp.array(_BIAS)

  def notes(self, state):
    return [{"vectors": float(j)} for j in range(len(state.buffers["alive"]))]


@pytest.fixture(scope="module")
def explained():
  plain, state = fakes.trained()
  model = Concepts(plain.class_names)
  concept = np.arange(12, dtype=np.int32) % 4
  state = state.replace(buffers={**state.buffers, "class_of": concept})
  stream = fakes.Images(fakes.photographs(5, seed=9), [0, 1, 2, 0, 1])
  found = list(
    prototypical.explain(
      model,
      state,
      stream,
      Request(preset=fakes.PRESET),
      training=lambda: plain.train,
    )
  )
  kinds = LocalExplanation, GlobalExplanation, Overview
  return (
    model,
    state,
    stream,
    [[e for e in found if isinstance(e, kind)] for kind in kinds],
  )


def test_points_of_scores_and_the_bias_sum_to_the_logit(explained):
  model, state, stream, (images, _, _) = explained
  features = model.features(stream.images)
  scores = np.asarray(model.scores(state, features, None))
  weight = np.asarray(model.weights(state))
  logits = scores @ weight.T + _BIAS
  for e, row, own in zip(images, logits, scores, strict=True):
    k = int(row.argmax())
    best = e.predicted
    assert best.class_name == model.class_names[k]
    assert_allclose([best.logit, best.bias], [row[k], _BIAS[k]], rtol=1e-5)
    for line in e.evidence:
      j = line.prototype
      assert_allclose(line.score, own[j], rtol=1e-5)
      assert_allclose(line.points, own[j] * weight[k, j], rtol=1e-4)
    listed = {line.prototype for line in e.evidence}
    left = [j for j in range(12) if j not in listed]
    assert_allclose(
      e.other_points, own[left] @ weight[k, left], rtol=1e-3, atol=1e-5
    )
    found = sentences.scoring_sheet(e)
    assert found.factor == "score"
    assert found.bias == f"{best.bias:.2f}"


def test_prototypes_are_sorted_by_concept(explained):
  model, state, _, (images, prototypes, _) = explained
  weight = np.asarray(model.weights(state))
  for j, e in enumerate(prototypes):
    assert (e.kind, e.group) == ("concept", model.groups.names[j % 4])
    assert e.speaks_for == model.class_names[weight[:, j].argmax()]
    assert_allclose(e.weight, weight[:, j].max())
    assert e.notes == {"vectors": j}
  groups = class_contents.groups(prototypes, images)
  assert [g.name for g in groups[:4]] == list(model.groups.names)
  assert {g.name for g in groups[4:]} == set(model.class_names)


def test_images_of_any_class_may_hold_a_concept(explained):
  model, state, stream, (_, _, (overview,)) = explained
  context = Context(model, state, stream, "train", fakes.PRESET)
  assert sanity.check(context) == overview.alerts == ()


def test_the_report_says_whom_a_prototype_speaks_for(explained, tmp_path):
  *_, (images, prototypes, overviews) = explained
  run = page.Run("run", notes={"vectors": "How often it is nearest."})
  with Pictures(tmp_path) as pictures:
    class_pages.write(pictures, run, prototypes, images, {"test": overviews[0]})
  said = (tmp_path / "report.html").read_text()
  assert f" for {prototypes[0].speaks_for}</span>" in said
  assert "vectors 3.00" in said
  assert "How often it is nearest." in said
  assert "learned vectors of a concept" in said
  assert "score × weight" in said
  assert "bias of the class" in said
  assert "each belongs to one class" not in said
