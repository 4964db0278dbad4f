"""The method: what its loss may not see, its stages, and its config."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from configs import noisy_pseudo_label_diffusion_folder as folder
from protojax import methods, parallel
from protojax.engine.stage import Fit, Pass
from protojax.engine.terms import Now
from protojax.types import UserError
from tests import starts


def _load(variants="debug", names=None, **keys):
  config = folder.get_config(variants).unlock()
  config.update_from_flattened_dict(keys)
  return methods.load(config, names)


@pytest.fixture(scope="module")
def method():
  # Views that compile soon: the loss takes what it is given.
  views = {"data.augment": "", "data.weak": "flip", "data.strong": "weak+flip"}
  small = {"batch_size": 2, "unlabelled_batch_size": 2}
  return _load(**views, **small, **{"backbone.levels": ("stage_2",)})


@pytest.fixture(scope="module")
def state(method):
  """With prototypes, and a teacher unlike the student."""
  found = starts.begun(method.init)
  rng = np.random.default_rng(0)
  vectors = rng.normal(size=(6, 8)).astype(np.float32)
  vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
  made = found.memory["prototypes"]
  made = made._replace(vectors=vectors, updates=np.ones(6, np.float32))
  return found.replace(memory={**found.memory, "prototypes": made})


@pytest.fixture(scope="module")
def batch(method):
  fit = [s for s in method.stages() if isinstance(s, Fit)][-1]
  assert list(fit.data) == ["labelled", "unlabelled"]
  return {
    name: parallel.to_host(
      stream.varied(next(stream.batches(0, 1)), parallel.key(0))
    )
    for name, stream in fit.data.items()
  }


@pytest.fixture(scope="module")
def step(method, state):
  """Function of the batch: terms, what is remembered, and two gradients."""
  (*_, fit) = [s for s in method.stages() if isinstance(s, Fit)]

  def total(params, teacher, batch):
    given = state.replace(memory={**state.memory, "teacher": teacher})
    now = Now(parallel.key(0), jnp.int32(0), jnp.float32(0.5))
    terms, aux = fit.loss(params, given, batch, now)
    values = {n: t.total / jnp.maximum(t.count, 1) for n, t in terms.items()}
    loss = sum(terms[n].weight * value for n, value in values.items())
    return loss, (values, aux.memory["prototypes"])

  def mapped(params, teacher, batch):
    one = jax.tree.map(lambda x: jnp.asarray(x)[None], batch)
    found = jax.vmap(
      lambda b: jax.value_and_grad(total, (0, 1), has_aux=True)(
        params, teacher, b
      ),
      axis_name=parallel.mapped.AXIS,
    )(one)
    return jax.tree.map(lambda x: x[0], found)

  compiled = jax.jit(mapped)
  teacher = state.memory["teacher"]
  return lambda batch: compiled(state.params, teacher, batch)


def _with_masks(batch, value):
  """The same, with another mask for every unlabelled image."""
  views = {
    view: {
      **given,
      "mask": np.full(given["image"].shape[:3], value, np.float32),
    }
    for view, given in batch["unlabelled"].items()
  }
  return {**batch, "unlabelled": views}


def test_the_stream_of_unlabelled_images_has_no_masks(batch):
  assert "mask" in batch["labelled"]
  assert set(batch["unlabelled"]) == {"weak", "strong"}
  for view in batch["unlabelled"].values():
    assert set(view) <= {"image", "index", "valid", "draw"}


def test_no_term_sees_a_label_of_an_unlabelled_image(step, batch):
  """Masks that are NaN leave every term, gradient and prototype as it is."""
  expected = step(_with_masks(batch, 0))
  found = step(_with_masks(batch, np.nan))
  for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
    assert np.isfinite(a).all()
    assert_array_equal(a, b)


def test_the_student_has_gradients_and_the_teacher_none(step, batch):
  (_, (values, _)), (student, teacher) = step(_with_masks(batch, 0))
  assert set(values) == {
    *("labelled", "dice", "pseudo"),
    *("contrast", "consistency", "separation"),
  }
  for x in jax.tree.leaves(teacher):
    assert_array_equal(x, 0)
  moved = jax.tree.map(lambda x: bool(np.abs(x).max() > 0), student)
  for name in ("labels", "neck", "readouts", "backbone"):
    assert any(jax.tree.leaves(moved[name])), name


def test_permuted_classes_permute_the_answer(method, state):
  """Tables and readouts in another order: the same answer under other names."""
  network = method.network
  order = np.array([3, 0, 5, 1, 4, 2])
  features = np.random.default_rng(0).normal(size=(1, 16, 16, 8))
  noise = np.asarray(network.noise(1))
  sampled = jax.jit(network.sampled)
  expected = sampled(state.params, np.float32(features), noise).logits
  linear = state.params["readouts"]["linear"]
  other = {
    **state.params,
    "labels": {"table": state.params["labels"]["table"][[*order, 6]]},
    "readouts": {
      **state.params["readouts"],
      "linear": {name: x[..., order] for name, x in linear.items()},
    },
  }
  found = sampled(other, np.float32(features), noise).logits
  assert_allclose(found, expected[..., order], atol=1e-4)


def test_the_unknown_row_stands_for_all_that_is_no_class(method, state):
  network = method.network
  found = network.latents(state.params, np.int32([[[0, 5, 6, 255]]]))[0, 0]
  table = state.params["labels"]["table"]
  bits = 0.5 * (2 / (1 + np.exp(-np.float64(table))) - 1)
  assert_allclose(found, bits[[0, 5, 6, 6]], atol=1e-6)


def test_stages_are_the_algorithm():
  stages = list(_load().stages())
  assert [s.name for s in stages] == ["labelled", "teacher", "both", "average"]
  assert [s.total_steps for s in stages if isinstance(s, Fit)] == [1, 4]
  supervised = list(_load(**{"train.labelled": 1.0}).stages())
  assert [s.name for s in supervised] == ["labelled", "teacher", "average"]


def test_the_teacher_answers_at_the_end(method, state):
  passes = {s.name: s for s in method.stages() if isinstance(s, Pass)}
  teacher = jax.tree.map(lambda x: x + 1, state.memory["teacher"])
  given = state.replace(memory={**state.memory, "teacher": teacher})
  found, _ = passes["average"].sweep(given, method.stream("train"))
  assert_array_equal(
    jax.tree.leaves(found.params)[0], jax.tree.leaves(teacher["params"])[0]
  )
  again, metrics = passes["teacher"].sweep(given, method.stream("train"))
  assert_array_equal(
    jax.tree.leaves(again.memory["teacher"]["params"])[0],
    jax.tree.leaves(state.params)[0],
  )
  assert metrics == {"labelled": 4, "unlabelled": 12}


def test_variants_change_what_they_say():
  plain = _load("plain,debug", ("a", "b"))
  assert not plain.network.denoiser.noisy
  assert plain.network.seeds == 1
  c = folder.get_config("unanchored")
  assert (c.loss.contrast, c.loss.consistency) == (0, 0)
  assert not c.trust.agreement
  assert folder.get_config("supervised").trust.threshold == 1
  assert folder.get_config("all").data.labelled == 1


@pytest.mark.parametrize(
  ("keys", "message"),
  [
    ({"denoiser.kind": "flow"}, "kind='flow': choose diffusion or plain"),
    ({"denoiser.kernel": 4}, "kernel=4 has no middle"),
    ({"data.strong": "colour"}, "must go on from the weak view"),
    ({"data.labelled": 0.0}, "labelled is 0.0; it must be a number above 0"),
    ({"data.image_size": 62}, "image_size=62 is no multiple of 4"),
    (
      {"backbone.levels": ("stage_3", "stage_2")},
      r"strides of \(8, 4\) pixels: give one or more, the finest first",
    ),
    ({"backbone.levels": ("x",)}, "no level 'x'; choose"),
    ({"sampler.steps": 0}, "sampler.steps is 0; it must be a whole number"),
  ],
)
def test_settings_that_cannot_be_are_refused(keys, message):
  with pytest.raises(UserError, match=message):
    _load(names=("a", "b"), **keys).network  # noqa: B018
