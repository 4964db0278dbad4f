import types

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax.explain import prototypical, scoring_sheet
from protojax.explain.evidence import (
  GlobalExplanation,
  LocalExplanation,
  Overview,
)
from protojax.explain.request import Request
from protojax.heat import similarity_map
from protojax.heat.maps import HeatMaps
from protojax.types import UserError
from tests.explain import explain_fakes as fakes


def _explain(model, state, stream, **options):
  training = options.pop("training", lambda: model.train)
  request = Request(preset=fakes.PRESET, **options)
  found = list(
    prototypical.explain(model, state, stream, request, training=training)
  )
  images = [e for e in found if isinstance(e, LocalExplanation)]
  rest = found[len(images) :]
  return images, [e for e in rest if not isinstance(e, Overview)]


def _test_images(count=10, classes=3):
  return fakes.Images(
    fakes.photographs(count, seed=9), np.arange(count) % classes
  )


def test_one_sweep_gives_both():
  model, state = fakes.trained()
  done = []
  images, prototypes = _explain(
    model, state, _test_images(), progress=done.append
  )
  assert done == [4, 4, 2]
  assert [e.index for e in images] == list(range(10))
  assert [e.prototype for e in prototypes] == list(range(12))
  assert all(isinstance(e, GlobalExplanation) for e in prototypes)
  assert prototypes[0].because["test"].images == 10


def test_scoring_sheet_sums_to_the_logit():
  model, state = fakes.trained()
  stream = _test_images()
  images, _ = _explain(model, state, stream)
  similarity, cells = model.nearest(state, model.features(stream.images))
  weight = np.asarray(model.weights(state))
  logits = np.asarray(similarity) @ weight.T
  for k, e in enumerate(images):
    order = np.argsort(-logits[k])
    assert [a.class_name for a in e.answers] == [
      model.class_names[i] for i in order
    ]
    assert_allclose([a.logit for a in e.answers], logits[k][order], rtol=1e-5)
    assert_allclose(sum(a.probability for a in e.answers), 1)
    assert e.wrong == (order[0] != stream.labels[k])
    points = np.asarray(similarity[k]) * weight[order[0]]
    alive = [j for j in range(12) if j != 5]
    ranked = sorted(alive, key=lambda j: -abs(points[j]))
    shown = [row.prototype for row in e.evidence]
    assert shown == ranked[: len(shown)]
    assert e.others == 11 - len(shown)
    missing = ranked[len(shown) :]
    assert e.silent == sum(abs(points[missing]) < 0.005)
    other = float(points[missing].sum())
    assert_allclose(e.other_points, other, rtol=1e-3, atol=1e-4)
    # One row less would leave more than a fifth to the others.
    assert len(shown) >= 3
    if missing:
      assert abs(other) <= 0.2001 * abs(logits[k][order[0]])
    if len(shown) > 3:
      assert abs(other + points[shown[-1]]) > 0.1999 * abs(logits[k][order[0]])
    for row in e.evidence:
      assert_allclose(row.points, row.similarity * row.weight)
      assert row.weight == weight[order[0], row.prototype]
      assert row.runner_up_weight == weight[order[1], row.prototype]
      assert row.cell == cells[k, row.prototype]
      assert row.because["identity"] == 0


@pytest.mark.parametrize(
  ("points", "total", "count"),
  [
    # 80 % is reached by the second row; three are the least.
    ([5.0, 4.0, 0.5, 0.25, 0.25], 10.0, 3),
    ([3.0, 2.0, 1.5, 1.5, 1.0, 1.0], 10.0, 4),
    # The third alone would leave too little, the fourth corrects it.
    ([6.0, 5.0, 4.0, -5.0, 0.0], 10.0, 4),
    # What is never reached has the most rows.
    ([0.1] * 20, 10.0, 15),
    ([1.0, 1.0], 10.0, 2),
    ([0.0] * 20, 0.0, 3),
  ],
)
def test_rows_that_carry_an_answer(points, total, count):
  assert scoring_sheet.carrying(points, total) == count


def test_patches_and_duplicates():
  model, state = fakes.trained(dead=(5,))
  _, prototypes = _explain(
    model, state, model.train, split="train", prototypes_shown=4
  )
  provenance = state.buffers["provenance"]
  assert [e.duplicate_of for e in prototypes[:2]] == [None, 0]
  assert [e.alive for e in prototypes] == [j != 5 for j in range(12)]
  for j, e in enumerate(prototypes):
    assert (e.patch.index, e.patch.cell) == (
      provenance.image[j],
      provenance.cell[j],
    )
    assert e.patch.image == f"image-{provenance.image[j]}"
    assert (e.patch.picture is not None) == (j < 4)
    row, column = divmod(int(provenance.cell[j]), 4)
    assert e.patch.field == (8 * row, 8 * column, 8 * row + 8, 8 * column + 8)
    image = model.train.images[provenance.image[j]][None]
    maps = model.maps(state, image, np.array([j]))[..., 0]
    box = similarity_map.percentile_box(similarity_map.upsample(maps, 32, 32))[
      0
    ]
    assert_array_equal(e.patch.box, box)
    assert e.because["train"].images == 12
    assert_array_equal(
      e.without_own["train"].similarity < e.because["train"].similarity, True
    )
  assert np.array_equal(
    prototypes[0].patch.picture, model.train.images[provenance.image[0]]
  )


def test_pictures_of_some_images_of_each_class():
  model, state = fakes.trained()
  images, _ = _explain(model, state, _test_images(20), shown=1, rows_shown=3)
  shown = [e for e in images if e.picture is not None]
  assert [e.index for e in shown[:3]] == [0, 1, 2]
  assert all(e.wrong for e in shown[3:])
  for e in shown:
    assert_array_equal(e.picture, _test_images(20).images[e.index])
    heats = [r.heat is not None for r in e.evidence]
    assert heats == [n < 3 for n in range(len(e.evidence))]
    assert all(r.box is not None for r in e.evidence)
    assert e.evidence[0].heat.shape == (32, 32, 3)


def test_limit_takes_images_from_everywhere():
  model, state = fakes.trained()
  images, prototypes = _explain(model, state, _test_images(), limit=5)
  assert [e.index for e in images] == [0, 2, 4, 7, 9]
  assert prototypes[0].because["test"].images == 5
  everything, _ = _explain(model, state, _test_images(), limit=99)
  assert len(everything) == 10
  for e in images:
    same = everything[e.index].evidence
    assert_allclose(
      [r.similarity for r in e.evidence],
      [r.similarity for r in same],
      rtol=1e-5,
    )


def test_scopes():
  model, state = fakes.trained()
  images, prototypes = _explain(model, state, _test_images(), scope="global")
  assert not images
  assert len(prototypes) == 12
  images, prototypes = _explain(
    model, state, _test_images(), scope="local", shown=0
  )
  assert len(images) == 10
  compared = {
    r.prototype for e in images if e.picture is not None for r in e.evidence
  }
  assert {e.prototype for e in prototypes} == compared
  assert not any(e.because for e in prototypes)


def test_unlabelled_images_without_the_data_set():
  model, state = fakes.trained()
  stream = fakes.Images(fakes.photographs(2), [-1, -1], ["x.jpg", "y.jpg"])

  def gone():
    raise UserError("no train images")

  images, prototypes = _explain(
    model, state, stream, training=gone, split="images", scope="local"
  )
  assert [e.image for e in images] == ["x.jpg", "y.jpg"]
  assert not any(e.wrong for e in images)
  assert images[0].label is None
  assert not any(e.patch for e in prototypes)
  with pytest.raises(UserError, match="no train images"):
    _explain(model, state, stream, training=gone)


def test_changed_training_images_are_noticed():
  model, state = fakes.trained()
  provenance = state.buffers["provenance"].image[0]
  model.train.images[provenance, 0, 0, 0] ^= 1
  with pytest.raises(UserError, match=f"image-{provenance}.*--allow-stale"):
    _explain(model, state, _test_images())
  _, prototypes = _explain(model, state, _test_images(), allow_changed=True)
  assert prototypes[0].patch is not None


def test_removed_training_images_are_noticed():
  model, state = fakes.trained()
  provenance = state.buffers["provenance"].image
  last = int(provenance.max())
  model.train = fakes.Images(
    model.train.images[:last], model.train.labels[:last]
  )
  gone = int(np.flatnonzero(provenance == last)[0])
  with pytest.raises(
    UserError, match=rf"number {last} .* prototype {gone} .*data have changed"
  ):
    _explain(model, state, _test_images())
  _, prototypes = _explain(model, state, _test_images(), allow_changed=True)
  assert [e.patch is None for e in prototypes] == list(provenance == last)


@pytest.mark.parametrize("removed", [True, False])
def test_images_are_explained_without_their_patches(removed):
  model, state = fakes.trained()
  model.train = fakes.Images(
    model.train.images[: 1 if removed else None] ^ np.uint8(not removed),
    model.train.labels,
  )
  images, prototypes = _explain(
    model, state, _test_images(), split="images", scope="local"
  )
  assert len(images) == 10
  assert prototypes
  assert not any(e.patch for e in prototypes)


class _Kept(fakes.Images):
  """Images of which only a pass in constant memory may read all."""

  def once(self):
    return fakes.Images(self.images, self.labels)

  def batches(self):
    raise AssertionError("a stream that keeps its images")


def test_a_method_explains_in_constant_memory():
  model, state = fakes.trained()
  test = _Kept(fakes.photographs(10, seed=9), np.arange(10) % 3)

  def predict(state, batch):
    similarity, _ = model.nearest(state, model.features(batch["image"]))
    return {"logits": similarity @ model.weights(state).T}

  checked = []
  method = types.SimpleNamespace(
    network=model,
    predict=predict,
    stream=lambda split: {"train": model.train, "test": test}[split],
  )
  found = prototypical.Explainer(method, checked.append).explain(
    state, test.once(), Request(preset=fakes.PRESET, scope="global")
  )
  assert checked == [state]
  overview, *prototypes = found
  logits = predict(state, {"image": test.images})["logits"]
  right = np.asarray(logits).argmax(1) == test.labels
  assert_allclose(overview.redundancy.accuracy, right.mean())
  assert [e.prototype for e in prototypes] == list(range(12))
  # Without labels there is no accuracy.
  unknown = fakes.Images(test.images, [-1] * 10)
  overview, *_ = prototypical.Explainer(method).explain(
    state, unknown, Request(preset=fakes.PRESET, scope="global")
  )
  assert overview.redundancy is None


def test_a_wide_prototype_has_a_wide_field():
  model, state = fakes.trained()
  wide = np.zeros((12, 1, 2, 3), np.float32)
  state = state.replace(
    params={**state.params, "prototypes": {"prototypes": wide}}
  )
  heat_maps = HeatMaps(model, state)
  # Three places a row: the first of the second row.
  assert heat_maps.field(3) == (8, 0, 16, 16)


def test_before_a_push():
  model, state = fakes.trained()
  provenance = state.buffers["provenance"]
  never = provenance.empty(12)
  state = state.replace(buffers={**state.buffers, "provenance": never})
  _, prototypes = _explain(model, state, _test_images())
  assert not any(e.patch for e in prototypes)
  assert not any(e.duplicate_of for e in prototypes)
