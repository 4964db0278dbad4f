"""How familiar an image is, by its best similarity among known ones."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest

from protojax.explain import familiarity
from protojax.explain.familiarity import Familiarity
from protojax.types import UserError
from tests.explain import explain_fakes as fakes
from tests.report import report_fakes


def test_percentiles_by_hand():
  known = Familiarity("test", np.array([0.2, 0.4, 0.4, 0.9]))
  for best, wanted in ((0.1, 20), (0.2, 40), (0.4, 80), (0.5, 80), (2.0, 100)):
    assert known.percentile(best) == pytest.approx(wanted)
  # So few images say nothing, however unlike them an image is.
  assert not familiarity.unfamiliar(known.percentile(-9.0))
  assert not familiarity.unfamiliar(None)


def test_of_images_like_the_known_ones_one_in_twenty_is_unfamiliar():
  rng = np.random.default_rng(0)
  told = []
  for _ in range(200):
    known = Familiarity("validation", np.sort(rng.gamma(2.0, size=99)))
    new = rng.gamma(2.0, size=50)
    told += [familiarity.unfamiliar(known.percentile(x)) for x in new]
  # Below 5 of 100 ranks are 4.
  assert abs(np.mean(told) - 0.04) < 0.01


def test_explanations_in_blocks_say_it_in_a_note():
  known = Familiarity("test", np.arange(99.0), by=familiarity.LOGIT)
  (low,), (high,) = (familiarity.notes(x, known) for x in (2.0, 70.0))
  assert (low.level, high.level) == ("warning", "note")
  assert low.text.startswith(
    "Unlike the images the model knows: its largest logit, 2.00, is less than"
  )
  assert high.text == "More familiar than 72 % of the images the model knows."
  assert familiarity.notes(2.0, None) == []


def _method(model, **streams):
  def predict(state, batch):
    similarity, _ = model.nearest(state, model.features(batch["image"]))
    return {"similarities": similarity}

  return types.SimpleNamespace(
    predict=predict, splits=tuple(streams), stream=streams.__getitem__
  )


def _best(model, state, images):
  """Best similarity to all prototypes but the pruned one."""
  similar, _ = model.nearest(state, model.features(images))
  return np.delete(np.asarray(similar, float), 5, axis=1).max(axis=1)


def test_known_are_the_validation_images_or_every_other_test_image():
  model, state = fakes.trained(dead=(5,))
  test = fakes.Images(fakes.photographs(10, seed=9), np.arange(10) % 3)
  found = familiarity.measure(_method(model, train=None, test=test), state)
  best = _best(model, state, test.images)
  np.testing.assert_allclose(found.best, np.sort(best[::2]), rtol=1e-5)
  told = [familiarity.unfamiliar(found.percentile(x)) for x in best[1::2]]
  assert (found.split, found.others) == ("test", 5)
  assert found.others_unfamiliar == np.mean(told)

  held = fakes.Images(fakes.photographs(60, seed=4), np.arange(60) % 3)
  method = _method(model, train=None, validation=held, test=test)
  found = familiarity.measure(method, state)
  own = _best(model, state, held.images)
  np.testing.assert_allclose(found.best, np.sort(own), rtol=1e-5)
  told = [(1 + np.sum(own <= x)) / 61 < 0.05 for x in best]
  assert (found.split, found.others) == ("validation", 10)
  assert found.others_unfamiliar == np.mean(told)


def test_of_channels_the_largest_logit_says_it():
  model, state = fakes.trained()
  method = _method(model, train=None, test=model.train)
  method.predict = lambda state, batch: {
    "similarities": -jnp.outer(batch["index"], jnp.ones(6)),
    "logits": jnp.outer(batch["index"], jnp.array([1.0, 2.0])),
  }
  found = familiarity.measure(method, state, familiarity.LOGIT)
  count = len(model.train)
  np.testing.assert_array_equal(found.best, 2 * np.arange(count)[::2])
  row = {"logits": np.array([-5.0, -2.0]), "similarities": np.full(6, 1e3)}
  assert found.of_row(row, state) == 100 / (1 + len(found.best))
  image = dataclasses.replace(report_fakes.run()[1][0], best=1e3)
  low = dataclasses.replace(found, best=image.predicted.logit + 1 + found.best)
  told = familiarity.of_image(image, low).unfamiliar
  logit = f"{image.predicted.logit:.2f}"
  assert told == "" or f"its largest logit, {logit}, is less" in told
  assert familiarity.of_image(image, low).familiarity == pytest.approx(
    100 / (1 + len(found.best))
  )


def test_a_method_without_similarities_goes_by_its_logits():
  model, state = fakes.trained()
  method = _method(model, train=None, test=model.train)
  method.predict = lambda state, batch: {
    "logits": 1.0 * batch["index"][:, None]
  }
  assert familiarity.measure(method, state) is None
  bare = state.replace(params={}, buffers={})  # No bank is needed.
  found = familiarity.measure(method, bare, familiarity.LOGIT)
  wanted = np.arange(len(model.train))[::2]
  np.testing.assert_array_equal(found.best, wanted)
  percentile = found.of_row({"logits": np.array([-1.0])}, bare)
  assert percentile == 100 / (1 + len(wanted))
  method.predict = lambda state, batch: {"score": batch["index"]}
  assert familiarity.measure(method, bare, familiarity.LOGIT) is None


def test_an_answer_of_one_number_has_none():
  model, state = fakes.trained()
  method = _method(model, train=None, test=model.train)

  def predict(shift):
    def rows(state, batch):
      z = batch["index"] - 3.0
      return {"logits": jnp.stack([jnp.zeros_like(z) + shift, z], axis=1)}

    return rows

  method.predict = predict(0.0)
  assert familiarity.measure(method, state, familiarity.LOGIT) is None
  method.predict = predict(0.5)
  found = familiarity.measure(method, state, familiarity.LOGIT)
  assert found.best[0] == 0.5


def test_it_is_stored_and_read(tmp_path):
  assert familiarity.read(tmp_path) is None
  best = np.array([0.25, 0.5])
  found = Familiarity("test", best, 7, 0.125, familiarity.LOGIT)
  familiarity.write(tmp_path, found)
  again = familiarity.read(tmp_path)
  for name, value in dataclasses.asdict(found).items():
    np.testing.assert_array_equal(getattr(again, name), value)
  (tmp_path / "familiarity.json").write_text("{}")
  with pytest.raises(UserError, match="restore or remove it"):
    familiarity.read(tmp_path)


def test_an_image_is_told_in_words():
  (image, *_) = report_fakes.run()[1]
  known = Familiarity("test", np.linspace(1, 2, 99), 40, 0.075)
  assert familiarity.of_image(image, known) == image
  found = familiarity.of_image(dataclasses.replace(image, best=0.5), known)
  assert found.familiarity == pytest.approx(1.0)
  assert found.unfamiliar == (
    "Unlike the images the model knows: its best similarity, 0.50, is less than"
    " that of 99 % of the test images. Said of 1 in 20 test images, and of 7.5%"
    " of 40 other test images."
  )
  found = familiarity.of_image(dataclasses.replace(image, best=1.5), known)
  assert found.unfamiliar == ""
  assert familiarity.of_image(image, None) is image
