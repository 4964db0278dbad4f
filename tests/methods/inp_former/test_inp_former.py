"""INP-Former: its loss, what is measured, the threshold, the takeover."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest
from sklearn import metrics as oracle

from protojax import methods, parallel
from protojax.data.resizing import Resizing
from protojax.datasets import anomalies
from protojax.engine import adopt, workdir
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.methods import base
from protojax.methods.inp_former import explanation
from protojax.methods.inp_former.network import Rebuilt
from protojax.types import State
from tests.common import terms
from tests.methods.inp_former.inp_former_fakes import load
from tests.metrics import oracles


@pytest.fixture(scope="module")
def rows(method, started):
  """What `predict` says of the test images, in their order."""
  test = method.stream("test")
  found = [
    {name: x[batch["valid"]] for name, x in rows.items()}
    for batch, rows in parallel.each(method.predict, started, test.batches())
  ]
  return {name: np.concatenate([r[name] for r in found]) for name in found[0]}


@pytest.fixture(scope="module")
def measured(method, started):
  """What `evaluate` says of the test images."""
  return method.evaluate(started, "test")


def test_it_detects_and_explains_and_does_not_classify(method):
  assert base.able(method, "inspects") is not None
  assert base.able(method, "explains").network is None
  assert base.able(method, "classifies") is None
  assert isinstance(method.network, explanation.Inspectable)
  assert method.network is method.network
  assert {method.network: 1}


def test_the_stages(method):
  found = list(method.stages())
  assert [s.name for s in found] == ["start", "train", "threshold"]
  assert found[1].data.seed is not None
  assert not found[1].data.varies
  assert found[2].data.source.collection is not None
  (held_out,) = {len(found[2].data)}
  assert held_out == len(method.stream("calibration"))
  without = [s.name for s in load(epochs=0).stages()]
  assert without == ["start", "threshold"]


def test_the_splits_share_no_image(method):
  names = [
    {s.source.name(i) for i in range(len(s))}
    for s in map(method.stream, anomalies.SPLITS)
  ]
  assert not names[0] & names[1] | names[0] & names[2] | names[1] & names[2]


def test_loss_is_the_sum_of_its_terms():
  """Against section 4, written out in NumPy, for what a forward pass gave."""
  method = load(**{"loss.gamma": 2.0, "loss.coherence": 0.3})
  rng = np.random.default_rng(0)
  encoded, decoded = np.float32(rng.normal(size=(2, 2, 4, 5, 6)))
  distance = np.float32(rng.uniform(0, 2, (4, 5)))

  class Given:
    def forward(self, params, state, batch):
      own = {name: x[:, batch["image"]] for name, x in params.items()}
      distance = state.buffers["distance"][batch["image"]]
      return Rebuilt(own["encoded"], own["decoded"], distance, None)

  method.network = Given()
  buffers = {"distance": jnp.asarray(distance)}
  state = State(params={}, statistics={}, buffers=buffers)

  def loss(params, rows):
    batch = {"image": rows}
    found, _ = method.loss(params, state, batch, terms.now())
    total = sum(t.weight * t.total for t in found.values())
    return total, {name: t.total for name, t in found.items()}

  # Two devices of two images each.
  mapped = jax.vmap(
    jax.value_and_grad(loss, has_aux=True),
    in_axes=(None, 0),
    axis_name=parallel.AXIS,
  )
  params = {"encoded": jnp.asarray(encoded), "decoded": jnp.asarray(decoded)}
  (total, named), gradient = jax.jit(mapped)(params, np.arange(4).reshape(2, 2))

  flat = [np.float64(x).reshape(2, 4, 30) for x in (encoded, decoded)]
  mining = (1 - _cosine(*flat)).mean(axis=0)
  np.testing.assert_allclose(named["mining"].sum(), mining.sum(), rtol=1e-5)
  coherence = distance.mean(axis=1)
  np.testing.assert_allclose(
    named["coherence"].sum(), coherence.sum(), rtol=1e-5
  )
  np.testing.assert_allclose(
    total.sum(), mining.sum() + 0.3 * coherence.sum(), rtol=1e-5
  )
  away = 1 - _cosine(np.float64(encoded), np.float64(decoded))
  factor = (away / away.mean(axis=(1, 2), keepdims=True)) ** 2
  lengths = [np.linalg.norm(x, axis=-1)[..., None] for x in flat]
  along = flat[0] / lengths[0]
  along = along - _cosine(*flat)[..., None] * flat[1] / lengths[1]
  expected = -(along / lengths[1] / 2).reshape(decoded.shape)
  np.testing.assert_allclose(
    gradient["decoded"].sum(axis=0),
    expected * factor[..., None],
    rtol=1e-4,
    atol=1e-6,
  )
  assert not gradient["encoded"].any()


def _cosine(a, b):
  lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
  return (a * b).sum(axis=-1) / lengths


def test_start_brings_every_level_around_zero_and_to_one_scale(
  method, fresh, started
):
  train, encoder = method.stream("train"), method.network.encoder
  found = np.concatenate(
    [
      rows["x"][batch["valid"]].reshape(-1, sum(encoder.widths))
      for batch, rows in parallel.each(
        lambda state, batch: {"x": encoder.side_by_side(state, batch)},
        fresh,
        train.batches(),
      )
    ]
  ).astype(np.float64)
  shift, scale = (started.statistics[name] for name in ("shift", "scale"))
  np.testing.assert_allclose(shift, found.mean(axis=0), atol=1e-4)
  standard = (found - shift) * scale
  for level in np.split(standard, np.cumsum(encoder.widths)[:-1], axis=1):
    np.testing.assert_allclose((level**2).sum(axis=1).mean(), 1, rtol=1e-3)
    assert level.std(axis=0).min() < 0.5 * level.std(axis=0).max()


def test_features_may_stay_as_they_are(fresh):
  method = load(**{"encoder.standardise": False})
  state, _ = method.start(fresh, method.stream("train"))
  assert state is fresh


def test_evaluation_is_the_exact_one_of_what_is_predicted(
  method, measured, rows
):
  """Mean over the categories, the last batch of each of which is padded."""
  test = method.stream("test")
  source, found = test.source, measured
  truths = np.stack([source.truth(i) for i in range(len(source))])
  # The nearest pixel of 128 for each of 32.
  truths = truths[:, 2::4, 2::4]
  assert truths.any(axis=(1, 2)).sum() == (source.labels > 0).sum()
  expected = []
  for number in range(len(source.category_names)):
    own = source.categories == number
    assert own.sum() % test.batch_size
    labels, scores = source.labels[own] > 0, rows["score"][own]
    pixels, maps = truths[own], rows["map"][own]
    expected.append(
      {
        **_oracle("image", labels, scores),
        **_oracle("pixel", pixels.ravel(), maps.ravel()),
        "aupro": oracles.aupro(pixels, maps),
      }
    )
  assert len(expected) == 3
  assert set(found) == set(expected[0])
  for name, value in found.items():
    mean = np.mean([e[name] for e in expected])
    # Pixels are counted in bins.
    off = 1e-6 if name.startswith("image") else 1e-3
    np.testing.assert_allclose(value, mean, atol=off, err_msg=name)


def test_masks_are_cut_as_their_images_and_hidden_defects_are_said(capsys):
  """The middle 32 of 64 pixels, which is the middle 64 of 128."""
  method = load(**{"data.resize_size": 64})
  test = method.stream("test")
  assert test.resizing == Resizing("squash", 64)
  source = test.source
  marked = np.flatnonzero(source.labels).tolist()
  shares = []
  for i in marked:
    whole = source.truth(i)
    middle = whole[32:96, 32:96]
    # Bilinear to half the size: a triangle of two pixels on either side.
    grey = Image.fromarray(np.uint8(255 * whole)).resize((64, 64), 2)
    expected = np.asarray(grey)[16:48, 16:48] > 127
    np.testing.assert_array_equal(method.truth(source, i), expected)
    shares.append(1 - middle.sum() / whole.sum())
  hidden = method._hidden(source)
  wholly, partly = sum(s == 1 for s in shares), sum(0 < s < 1 for s in shares)
  assert hidden == {"wholly": wholly, "partly": partly}
  assert wholly
  assert partly
  said = capsys.readouterr().out
  assert f"of {len(marked)} defective images, {wholly} have their" in said
  image = source[marked[0]]["image"]
  (batch,) = test.some(marked[:1])
  expected = Image.fromarray(image).resize((64, 64), 2).crop((16, 16, 48, 48))
  np.testing.assert_array_equal(batch["image"][0], expected)
  assert load()._hidden(source) == {}


def test_without_truth_images_alone_are_measured(
  method, started, measured, monkeypatch
):
  source = method.dataset.source("test")
  collection = dataclasses.replace(source.collection, has_truth=False)
  source = dataclasses.replace(source, collection=collection)
  monkeypatch.setitem(method.dataset.sources, "test", source)
  found = method.evaluate(started, "test")
  assert set(found) == {"image_auroc", "image_ap", "image_f1_max"}
  for name, value in found.items():
    assert value == measured[name]


def test_a_category_without_test_images_is_left_out(
  method, started, measured, monkeypatch
):
  source = method.dataset.source("test")
  names = (*source.category_names, "for training alone")
  source = dataclasses.replace(source, category_names=names)
  monkeypatch.setitem(method.dataset.sources, "test", source)
  assert method.evaluate(started, "test") == measured


def _oracle(of, labels, scores):
  return {
    f"{of}_auroc": oracle.roc_auc_score(labels, scores),
    f"{of}_ap": oracle.average_precision_score(labels, scores),
    f"{of}_f1_max": oracles.f1_max(labels, scores),
  }


def test_the_summary_tells_each_category(method, started, measured):
  buffers = {**started.buffers, "normal_images": np.int32(45)}
  started = started.replace(buffers=buffers)
  stages_ = [{"id": "03-threshold", "metrics": {"image_auroc": 0.7}}]
  found = method.summary(started, stages_)
  assert found["headline"] == "image_auroc"
  assert found["image_auroc"] == 0.7
  assert set(found["categories"]) == {"brick", "grass", "gravel"}
  for name, mean in measured.items():
    values = [found["categories"][c][name] for c in found["categories"]]
    np.testing.assert_allclose(np.mean(values), mean, rtol=1e-6)
  assert set(found["threshold"]) == {"value", "rate", "images"}


@pytest.fixture(scope="module")
def trained(started, tmp_path_factory):
  """A state unlike a fresh one, and the workdir of its run."""
  folder = tmp_path_factory.mktemp("runs") / "trained"
  workdir.claim(folder, load().config, methods.later)
  state = started.replace(
    params=jax.tree.map(lambda x: 1.5 * x + 1, dict(started.params)),
    buffers={**started.buffers, "threshold": np.float32(0.5)},
  )
  checkpoints = Checkpoints(folder)
  checkpoints.save(Progress(finished=True), state, {})
  checkpoints.close()
  return state, folder


def test_all_is_taken_over_but_the_threshold(trained, fresh, capsys):
  before, folder = trained
  state = adopt.take_over(fresh.replace(assets={}), str(folder), None)
  assert "anew: none" in capsys.readouterr().out
  jax.tree.map(np.testing.assert_array_equal, state.params, before.params)
  jax.tree.map(
    np.testing.assert_array_equal, state.statistics, before.statistics
  )
  assert state.buffers["threshold"] == np.inf
  # Neither other weights nor another scale come over it.
  method = load(init_from=str(folder), epochs=0)
  state = state.replace(assets=fresh.assets)
  same, said = method.start(state, method.stream("train"))
  assert same is state
  assert said == {}


def test_no_prototypes_are_taken_over_from_a_classifier(
  trained, fresh, tmp_path, capsys
):
  shutil.copytree(trained[1], tmp_path / "run")
  workdir.write_json(tmp_path / "run" / "classes.json", ["cat", "dog"])
  state = adopt.take_over(fresh, str(tmp_path / "run"), None)
  assert "params.prototypes" in capsys.readouterr().out
  jax.tree.map(
    np.testing.assert_array_equal,
    state.params["prototypes"],
    fresh.params["prototypes"],
  )


def test_another_methods_features_are_scaled_anew(fresh, started, tmp_path):
  """Its own scale is that of other levels, and does not fit."""
  state = fresh.replace(
    params={},
    statistics={
      "shift": np.ones(128, np.float32),
      "scale": np.ones(128, np.float32),
    },
  )
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(Progress(finished=True), state, {})
  checkpoints.close()
  method = load(init_from=str(tmp_path))
  scaled, _ = method.start(
    adopt.take_over(fresh, str(tmp_path), None), method.stream("train")
  )
  for name in ("shift", "scale"):
    np.testing.assert_allclose(
      scaled.statistics[name], started.statistics[name], rtol=1e-5
    )


def test_nothing_to_train_and_nothing_taken_over_is_noted(fresh, capsys):
  method = load(epochs=0)
  method.start(fresh, method.stream("train"))
  assert "note: with --config.epochs=0" in capsys.readouterr().out
