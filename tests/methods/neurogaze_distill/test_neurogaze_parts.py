"""Parts of the method: places of classes, subjects, other data, settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import methods
from protojax.configs import neurogaze_distill_folder
from protojax.datasets import measured_digits
from protojax.datasets.measurements import Measurements
from protojax.methods.neurogaze_distill import (
  anchors,
  distillation,
  grid_bank,
  modality,
  outside,
)
from protojax.methods.neurogaze_distill import teacher as teachers
from protojax.types import State, UserError


def config(**changes):
  found = neurogaze_distill_folder.get_config("debug").unlock()
  found.update_from_flattened_dict(changes)
  return found


def test_places_come_from_the_config_the_data_and_the_names():
  source = measured_digits.load(config().data, "train", 0)
  found = anchors.of_classes(("one", "two", "Happy"), ("two=0.1/-0.3",), source)
  np.testing.assert_allclose(
    found, [[0.8, 0.4], [0.1, -0.3], [0.8, 0.4]], atol=1e-6
  )
  for given, said in (
    ((), "the class 'cat' has no place on the grid"),
    (("cat=0.1",), "expected a class and two numbers"),
    (("cat=0.1/nan",), "both must be finite"),
    (("cat=0/0", "dog=0/0"), "names dog; the classes are cat"),
  ):
    with pytest.raises(UserError, match=said):
      anchors.of_classes(("cat",), given, source)


def measurements(groups):
  count = len(groups)
  return Measurements(
    "maps",
    np.zeros((count, 2, 2, 1), np.float32),
    np.zeros((count, 2), np.float32),
    np.asarray(groups, np.int32),
    ("c",),
  )


def test_no_subject_is_in_two_parts():
  source = measurements(np.repeat(np.arange(11), 4))
  parts = teachers.three_ways(source, seed=3)
  subjects = [set(source.groups[part.rows].tolist()) for part in parts]
  assert [len(s) for s in subjects] == [7, 2, 2]
  assert set.union(*subjects) == set(range(11))
  again = teachers.three_ways(source, seed=3)
  np.testing.assert_array_equal(parts[2].rows, again[2].rows)
  with pytest.raises(UserError, match="measurements of 2 subjects; at least 3"):
    teachers.three_ways(measurements([0, 0, 1]), seed=0)


def test_concordance_is_lins():
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(2, 40, 2)).astype(np.float32)
  expected = np.mean(
    [
      2 * np.cov(a, b, bias=True)[0, 1]
      / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
      for a, b in zip(x.T, y.T, strict=True)
    ]
  )  # fmt: skip
  np.testing.assert_allclose(teachers.concordance(x, y), expected, rtol=1e-4)
  np.testing.assert_allclose(teachers.concordance(x, x), 1, rtol=1e-5)


def test_labels_of_other_data_are_matched_by_name():
  source = measured_digits.load(config().data, "train", 0)
  names = tuple(reversed(source.class_names))
  moved = outside.of_classes(source, names, "reversed")
  np.testing.assert_array_equal(moved.labels, 7 - source.labels)
  with pytest.raises(UserError, match="other has the class 'zero'"):
    outside.of_classes(source, names[:-1], "other")


def test_external_sets_have_names():
  found = config(**{"external.sets": ("rotated", "soft=blurred")})
  sources = outside.sources(found, tuple(measured_digits.ANCHORS))
  assert list(sources) == ["rotated", "soft"]
  assert "blurred" in sources["soft"].name(0)
  found.external.sets = ("soft=blurred", "soft=rotated")
  with pytest.raises(UserError, match="names 'soft' twice"):
    outside.sources(found, tuple(measured_digits.ANCHORS))


def test_the_ramp_is_a_number_of_the_step_and_no_new_program():
  d_geo = config().d_geo
  d_geo.update(start_epoch=20, end_epoch=60)
  at = jax.jit(lambda step: distillation.ramp(d_geo, step / 5))
  found = [float(at(jnp.float32(5 * epoch))) for epoch in (19, 40, 99)]
  np.testing.assert_allclose(found, [0, 0.5, 1], atol=1e-6)
  assert at._cache_size() == 1
  d_geo.schedule = "constant"
  assert distillation.ramp(d_geo, jnp.float32(0)) == 1


def test_weights_and_positive_classes_are_checked():
  given = distillation.weights_of_classes((1, 2.5), np.array([3, 3]))
  np.testing.assert_allclose(given, [1, 2.5])
  plain = distillation.weights_of_classes("none", np.array([3, 3]))
  np.testing.assert_array_equal(plain, 1)
  for wrong in ("even", (1.0,)):
    with pytest.raises(UserError, match=r"ce\.class_weights is"):
      distillation.weights_of_classes(wrong, np.array([3, 3]))
  with pytest.raises(UserError, match="has joy; the classes are a, b"):
    distillation.positive(("joy",), ("a", "b"))


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({"arm": "A3_full"}, "choose one of B0, B1, B2, B3"),
    ({"kd_mse.form": "mae"}, "choose one of 'mse', 'kl'"),
    ({"proto_kd.mode": "dot"}, "choose one of 'cos', 'kl_logits'"),
    ({"bank.control": "noise"}, "choose one of '', 'shuffled', 'random'"),
    ({"teacher.loss": "mae"}, "choose one of 'mse', 'ccc'"),
    ({"proto_kd.tau": 0.0}, r"proto_kd\.tau is 0\.0; it must be a number"),
    ({"bank.high": (1.0, -1.0)}, "must be below that of"),
    ({"optim.patience": 3}, "needs examples to choose by"),
    ({"modality.name": "eeg"}, r"--config\.modality\.name is 'eeg'"),
    ({"modality.channels": 3}, "has 4 channels"),
  ],
)
def test_settings_that_are_wrong_are_refused_at_once(changes, said):
  with pytest.raises(UserError, match=said):
    list(methods.load(config(**changes)).stages())


def test_values_may_be_features_and_the_grid_of_any_range(tmp_path):
  rng = np.random.default_rng(0)
  targets = rng.uniform(0, 10, (90, 2))
  values = targets @ rng.normal(size=(2, 6)) + rng.normal(size=6)
  path = tmp_path / "scans.npz"
  np.savez(path, values=values, targets=targets, groups=np.arange(90) // 9)
  method = methods.load(
    config(
      **{
        "modality.name": "measurement_file",
        "modality.root": str(path),
        "modality.size": 1,
        "modality.channels": 6,
        "teacher.epochs": 0,
        "bank.channels": 6,
        "bank.rows": 2,
        "bank.columns": 3,
        "bank.low": (0.0, 0.0),
        "bank.high": (10.0, 10.0),
      }
    )
  )
  names = [stage.name for stage in method.stages()]
  assert names[:2] == ["start", "bank"]
  found, metrics = modality.bank(
    method.teacher,
    State({}, {}, {}),
    method.modality.banked(),
    method.grid,
    center=True,
  )
  assert not metrics
  rows = method.modality.banked().source.rows
  expected = grid_bank.build(values[rows], targets[rows], method.grid)
  np.testing.assert_allclose(found.prototypes, expected.prototypes, atol=1e-4)
  assert found.counts.sum() == len(rows) == 18
  with pytest.raises(UserError, match=r"set --config\.bank\.channels=6"):
    modality.require_width(found, 8)
