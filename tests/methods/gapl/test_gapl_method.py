"""GAPL's method: settings, stages and baselines."""

import functools

import jax
import numpy as np
from PIL import Image
import pytest

from protojax import methods, parallel
from protojax.configs import gapl_folder
from protojax.engine.stage import Fit
from protojax.explain import blocks
from protojax.explain.request import Request
from protojax.methods.gapl import explanation, network
from protojax.modify import presets
from protojax.types import UserError

_PRESET = presets.load("contrast=0.45", "fast", "none")


def _load(**changes):
  found = gapl_folder.get_config("debug").unlock()
  found.data.update(train="train:48", test="test:16")
  found.update_from_flattened_dict(changes)
  return methods.load(found.lock())


@pytest.mark.parametrize(
  ("baseline", "stages", "trained"),
  [
    (
      "",
      ["bottleneck", "dictionary", "adapt", "threshold"],
      {"adapters", "attention", "classifier", "projection"},
    ),
    (
      "linear",
      ["bottleneck", "adapt", "threshold"],
      {"classifier", "projection"},
    ),
    (
      "prototypes",
      ["bottleneck", "dictionary", "adapt", "threshold"],
      {"attention", "classifier", "projection"},
    ),
    (
      "random",
      ["bottleneck", "adapt", "threshold"],
      {"adapters", "attention", "classifier", "projection"},
    ),
    (
      "lora",
      ["bottleneck", "adapt", "threshold"],
      {"adapters", "classifier", "projection"},
    ),
  ],
)
def test_a_baseline_leaves_out_what_it_says(baseline, stages, trained):
  method = _load(baseline=baseline)
  found = list(method.stages())
  assert [stage.name for stage in found] == stages
  params = jax.eval_shape(method.init, parallel.init_key(0)).params
  assert "bottleneck" in params
  assert set(params) - {"bottleneck", "prototypes"} == trained
  assert ("prototypes" in params) == ("attention" in params)
  fit = next(s for s in found if isinstance(s, Fit) and s.name == "adapt")
  moments = jax.eval_shape(fit.optimizer.init, params)
  sizes = {x.shape for x in jax.tree.leaves(moments)}
  # Neither the encoder nor the prototypes have moments.
  assert (8, 1, 1, 16) not in sizes
  assert "encoder" in method.assets


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"baseline": "loar"}, "baseline='loar': choose from '', 'linear'"),
    ({"backbone.normalise": "clip"}, "normalise='clip': choose from 'encoder'"),
    ({"prototypes.count": 7}, "prototypes.count=7: half of them are of each"),
    ({"prototypes.count": 64}, "at most 16 directions"),
    ({"prototypes.heads": 3}, "channels=16 do not divide over"),
    ({"adapters.rank": 0}, "adapters.rank is 0; it must be"),
    ({"adapters.dropout": 1.0}, "adapters.dropout is 1.0; it must be"),
  ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    _load(**changes)


def test_the_first_stage_reads_some_generators_alone():
  method = _load(**{"first.generators": 2})
  source = method._first_source
  groups = np.asarray(method.dataset.source("train").groups)[source.rows]
  assert set(groups) == {0, 1}
  assert len(source) == 12
  assert len(_load(**{"first.generators": 0})._first_source) == 48


def test_pixels_are_normalised_as_asked():
  plain, other = (
    _load(**{"backbone.normalise": name}).network.backbone
    for name in ("encoder", "imagenet")
  )
  assert plain.mean == (0.5, 0.5, 0.5)
  assert other.mean == (0.485, 0.456, 0.406)


def test_images_smaller_than_the_crop_are_enlarged(tmp_path):
  """Nothing is filled in around them, whichever way they are varied."""
  for generator in ("a", "b"):
    for kind, grey in (("real", 90), ("fake", 170)):
      for n in range(2):
        file = tmp_path / generator / kind / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + n, 9), (grey, grey, grey)).save(file)
  method = _load(
    **{
      "data.name": "generators",
      "data.root": str(tmp_path),
      "data.train": "train",
      "data.test": "test",
      "data.held_out": ("b",),
      "data.augment": "crop,flip",
      "data.resize": "aspect",
      "data.resize_size": 36,
      "batch_size": 4,
    }
  )
  fit = next(s for s in method.stages() if s.name == "adapt")
  assert isinstance(fit, Fit)
  (batch,) = fit.data.batches(0, 1)
  varied = fit.data.varied(batch, jax.random.key(0))
  (ordered,) = method.stream("test").batches()
  for found in (varied, ordered):
    images = np.asarray(found["image"])
    assert images.shape == (4, 32, 32, 3)
    for image, label in zip(images, found["label"], strict=True):
      np.testing.assert_allclose(image, 170 if label else 90, atol=2)


@pytest.mark.slow
def test_losses_of_prototypes_sum_to_that_of_the_logit():
  method = _load()
  made = method.network
  state = jax.device_get(jax.jit(made.init)(parallel.init_key(0)))
  encoder = method.assets["encoder"].make()
  state = state.replace(assets={"encoder": encoder})
  images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
  step = functools.partial(explanation._step, made, _PRESET)
  rows = jax.jit(step)(state, {"image": images})
  constant = np.abs(rows["logit"]) - rows["points"].sum(axis=1)
  bias = made.judged(state.params, np.zeros((1, made.width), np.float32))
  np.testing.assert_allclose(
    np.abs(constant),
    abs(float(bias.logit[0] - bias.points[0].sum())),
    atol=1e-5,
  )
  np.testing.assert_allclose(rows["lost"].sum(axis=2), rows["delta"], atol=1e-5)
  assert np.abs(rows["lost"][:, 1]).max() > 1e-6
  np.testing.assert_allclose(rows["lost"][:, 0], 0, atol=1e-6)


def test_an_image_is_explained_with_its_verdict():
  row = {
    "logit": np.float32(2.0),
    "delta": np.float32([0.0, 0.5]),
    "grey": np.bool_(True),
    "attention": np.float32([0.1, 0.2, 0.3, 0.4]),
    "points": np.float32([-1.0, 0.5, 2.0, 0.0]),
    "lost": np.float32([[0.0] * 4, [0.0, 0.2, 0.3, 0.0]]),
  }
  mass, table = explanation._prototypes(_PRESET, row, 2)
  assert mass.text.startswith("70.0 % of the attention")
  assert table.rows == (
    (2, "generated", *map(pytest.approx, (0.3, 2.0, 0.0, 0.3))),
    (1, "real", *map(pytest.approx, (0.2, 0.5, 0.0, 0.2))),
  )
  sentence, because = explanation._because(_PRESET, row)
  assert sentence.text == (
    "It is called generated mostly because of its contrast: with its contrast"
    " changed the logit of the verdict, 2.00, loses 0.50."
  )
  assert isinstance(because, blocks.Table)
  assert because.rows == (("identity", 0.0), ("contrast 0.45", 0.5))
  assert network.CLASS_NAMES == ("real", "generated")


def test_the_overview_has_a_column_for_each_verdict():
  gathered = explanation._Gathered(0, Request(preset=_PRESET))
  for index, (logit, loss) in enumerate(((2.0, 0.5), (1.0, 0.7))):
    row = {"logit": logit, "delta": np.array([0.0, loss]), "grey": False}
    gathered.add(index, row)
  _, table = gathered.overview().blocks
  assert table.columns == ("characteristic", "called real", "called generated")
  assert table.rows == (
    ("identity", None, 0.0),
    ("contrast 0.45", None, pytest.approx(0.6)),
  )
