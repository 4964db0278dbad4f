"""Anomaly metrics against brute force, and counted bins against exact ones."""

from fractions import Fraction
import itertools

import cv2
import jax
import numpy as np
import pytest
from scipy import ndimage
from skimage import measure
from sklearn import metrics

from protojax import parallel
from protojax.metrics import anomaly, ranking
from protojax.types import UserError
from tests.metrics import oracles

SIZE = 32
BINS = 1 << 14
NAMES = {"pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro"}


def draw(seed, count=6, size=SIZE):
  """Truths with defects of several sizes, and maps that half find them."""
  generator = np.random.default_rng(seed)
  smooth = ndimage.gaussian_filter(
    generator.normal(size=(count, size, size)), (0, 2, 2)
  )
  truths = smooth > 1.8 * smooth.std()
  truths[::2] = False
  truths[1, 1:4, 1:3] = truths[1, -1, -1] = True
  noise = generator.gamma(4.0, 1.0, truths.shape)
  maps = noise * np.where(truths, 2.5, 1.0)
  return truths, (maps * 0.004).astype(np.float32)


def pro_curve_area(truths, maps, limit):
  """AUPRO with a loop over all thresholds and all regions."""
  points = [(0.0, 0.0)]
  for threshold in np.unique(maps)[::-1]:
    flagged = maps >= threshold
    overlaps = [
      flagged[i][tuple(region.coords.T)].mean()
      for i, truth in enumerate(truths)
      for region in measure.regionprops(measure.label(truth))
    ]
    points.append((flagged[~truths].mean(), np.mean(overlaps)))
  area = 0.0
  for (x0, y0), (x1, y1) in itertools.pairwise(points):
    if x0 >= limit or x1 == x0:
      continue
    end = min(x1, limit)
    area += (end - x0) * (y0 + (y1 - y0) * (end + x0 - 2 * x0) / (x1 - x0) / 2)
  return area / limit


def exact(truths, maps):
  """What `pixel_metrics` approaches."""
  named = ranking.summary(*ranking.tally(truths.ravel(), maps.ravel()))
  return {f"pixel_{name}": value for name, value in named.items()} | {
    "aupro": oracles.aupro(truths, maps)
  }


def weigh(truths):
  return np.stack([anomaly.region_weights(truth) for truth in truths])


counted = jax.jit(anomaly.count, static_argnames=("low", "high"))


def all_counted(truths, maps, bins=BINS, high=2.0):
  counts, mask = anomaly.Counts.empty(bins), np.ones(len(maps), bool)
  return counted(counts, maps, weigh(truths), mask, high=high)


def area_of_ranks(truths, maps, limit=0.3):
  """AUPRO, from counts in which every distinct score has a bin of its own."""
  _, rank = np.unique(maps, return_inverse=True)
  places = (rank.reshape(maps.shape) + 0.5) / BINS
  counts = all_counted(truths, (2 * places**2).astype(np.float32))
  return anomaly.pixel_metrics(counts, limit)["aupro"]


def test_regions_are_8_connected():
  truth = np.random.default_rng(0).random((40, 60)) < 0.3
  numbers = anomaly.regions(truth)
  _, theirs = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
  pairs = set(
    zip(numbers.ravel().tolist(), theirs.ravel().tolist(), strict=True)
  )
  assert len(pairs) == numbers.max() + 1 == theirs.max() + 1
  np.testing.assert_array_equal(numbers > 0, truth)
  assert numbers.dtype == np.int32
  # A diagonal scratch is one defect.
  assert anomaly.regions(np.eye(5, dtype=bool)).max() == 1


@pytest.mark.parametrize("fill", [False, True])
def test_regions_of_all_and_of_nothing(fill):
  truth = np.full((4, 5), fill)
  np.testing.assert_array_equal(anomaly.regions(truth), int(fill))
  np.testing.assert_allclose(anomaly.region_weights(truth), fill / 20)


def test_region_weights_sum_to_the_number_of_regions():
  truth = draw(1, size=64)[0][1]
  weights, numbers = anomaly.region_weights(truth), anomaly.regions(truth)
  assert weights.dtype == np.float32
  assert numbers.max() > 3
  for i in range(1, numbers.max() + 1):
    np.testing.assert_allclose(weights[numbers == i].sum(), 1.0, rtol=1e-5)
  assert not weights[~truth].any()


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("levels", [0, 1, 7])
def test_aupro_equals_a_loop_over_thresholds(levels, limit):
  truths, maps = draw(2, count=4, size=12)
  if levels:
    maps = np.floor(maps / maps.max() * levels)
  expected = pro_curve_area(truths, maps, limit)
  assert 0 < expected < 1
  found = area_of_ranks(truths, maps, limit)
  assert found == pytest.approx(expected, abs=1e-6)
  oracle = oracles.aupro(truths, maps, limit)
  assert oracle == pytest.approx(expected, abs=1e-12)


def test_aupro_by_hand():
  truths = np.zeros((1, 2, 6), bool)
  truths[0, 0, [0, 2, 3]] = True
  assert area_of_ranks(truths, truths) == pytest.approx(1.0)
  # A small defect counts as much as a large one.
  small, large = (np.zeros(truths.shape) for _ in range(2))
  small[0, 0, 0] = large[0, 0, 2] = large[0, 0, 3] = 1.0
  assert area_of_ranks(truths, small) == pytest.approx(
    area_of_ranks(truths, large)
  )
  # One score for all: the diagonal, whose mean up to 0.3 is 0.15.
  assert area_of_ranks(truths, np.ones(truths.shape)) == pytest.approx(0.15)


def test_bins_are_exact_where_each_score_has_its_own():
  truths, maps = draw(3)
  bins, high = 64, float(maps.max())
  place = np.minimum(np.floor(np.sqrt(maps / high) * bins), bins - 1)
  centres = (((place + 0.5) / bins) ** 2 * high).astype(np.float32)
  assert len(np.unique(centres)) > 30
  counts = all_counted(truths, centres, bins, high)
  assert int(np.sum(counts.normal)) == np.sum(~truths)
  assert int(np.sum(counts.defective)) == np.sum(truths)
  expected = exact(truths, centres)
  assert expected.keys() == NAMES
  found = anomaly.pixel_metrics(counts)
  assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("scale", [0.25, 1.0, 16.0])
def test_bins_are_close_on_real_values(scale):
  truths, maps = draw(4, count=8, size=96)
  found = anomaly.pixel_metrics(all_counted(truths, maps * np.float32(scale)))
  expected = exact(truths, maps)
  assert found == pytest.approx(expected, abs=1e-3)
  # The edges of bins are some of all thresholds.
  assert found["pixel_f1_max"] <= expected["pixel_f1_max"] + 1e-9


def test_one_score_for_all_is_chance():
  truths, maps = draw(7)
  found = anomaly.pixel_metrics(all_counted(truths, np.full_like(maps, 0.5)))
  share = truths.mean()
  assert found == pytest.approx(
    {
      "pixel_auroc": 0.5,
      "pixel_ap": share,
      "pixel_f1_max": 2 * share / (1 + share),
      "aupro": 0.15,
    }
  )


def _step(_, counts, batch):
  return anomaly.count(counts, batch["map"], batch["weight"], batch["valid"])


def test_batches_devices_and_padding_give_the_same():
  truths, maps = draw(5, count=12)
  weights, mask = weigh(truths), np.ones(12, bool)
  whole = all_counted(truths, maps)
  batches = [
    {"map": maps[rows], "weight": weights[rows], "valid": mask[rows]}
    for rows in np.split(np.arange(12), 3)
  ]
  # Padding repeats a defective example.
  batches.append({**batches[-1], "valid": np.zeros(4, bool)})
  parts = parallel.fold(_step, (), anomaly.Counts.empty(), batches)
  assert parts.normal.shape == (parallel.device_count(), BINS)
  for part, all_of_it in zip(parts, whole, strict=True):
    np.testing.assert_allclose(part.sum(axis=0), all_of_it, atol=1e-5)
  found = anomaly.pixel_metrics(parts)
  assert found == pytest.approx(anomaly.pixel_metrics(whole), abs=1e-6)


def test_scores_out_of_range_go_to_the_end_bins():
  maps = np.array([[[-1.0, -np.inf, 2.0, 7.0, np.inf]]], np.float32)
  counts = all_counted(np.zeros(maps.shape, bool), maps)
  assert counts.normal[0] == 2
  assert counts.normal[-1] == 3


def test_counts_do_not_stop_where_float32_does():
  full = np.full(BINS, 2**24, np.int32)
  counts = anomaly.Counts.empty()._replace(normal=full)
  truth, scores = np.zeros((1, 1, 1), bool), np.ones((1, 1, 1), np.float32)
  counts = counted(counts, scores, weigh(truth), np.ones(1, bool))
  assert np.max(counts.normal) == 2**24 + 1


def test_without_a_defect_or_a_number_pixel_metrics_are_nan():
  truths, maps = draw(6)
  broken = maps.copy()
  broken[0, 0, 0] = np.nan
  for truth, scores in (
    (np.zeros_like(truths), maps),
    (np.ones_like(truths), maps),
    (truths, broken),
  ):
    found = anomaly.pixel_metrics(all_counted(truth, scores))
    assert found.keys() == NAMES
    assert np.isnan([*found.values()]).all()


def test_image_metrics_name_the_exact_forms():
  labels = np.array([0, 2, 0, 1, 0], np.int32)
  scores = np.array([0.1, 0.4, 0.4, 0.9, 0.2])
  assert anomaly.image_metrics(labels, scores) == {
    "image_auroc": ranking.auroc(labels, scores),
    "image_ap": metrics.average_precision_score(labels > 0, scores),
    "image_f1_max": oracles.f1_max(labels > 0, scores),
  }


@pytest.mark.parametrize(("count", "rate"), [(19, 0.1), (50, 0.05), (7, 0.4)])
def test_a_new_normal_image_is_above_as_often_as_promised(count, rate):
  generator = np.random.default_rng(7)
  drawn = [
    anomaly.threshold(scores, rate)
    for scores in generator.random((5000, count))
  ]
  assert drawn[0].rate <= rate
  # Scores are uniform: above a value v lie 1 - v of all new images.
  above = 1 - np.mean([value for value, _ in drawn])
  assert above == pytest.approx(drawn[0].rate, abs=0.01)


def test_threshold_has_the_conformal_rank():
  for count in (99, 120):
    scores = np.random.default_rng(count).permutation(count) + 1.0
    for percent in range(1, 100):
      share = 1 - Fraction(percent, 100)
      rank = -((-(count + 1) * share) // 1)
      value, rate = anomaly.threshold(scores, percent / 100)
      assert value == rank
      assert rate == pytest.approx(float(1 - rank / (count + 1)))
      assert np.mean(scores > value) <= rate <= percent / 100 + 1e-12


def test_too_few_normal_images_promise_what_they_can():
  scores = np.array([0.3, 0.1, 0.2])
  assert anomaly.threshold(scores, 0.01) == (0.3, 0.25)


@pytest.mark.parametrize(
  ("scores", "rate", "message"),
  [
    ([0.1, 0.2], 0.0, "false_positive_rate 0.0 is not between 0 and 1"),
    ([0.1, 0.2], 1.0, "false_positive_rate 1.0 is not between 0 and 1"),
    ([], 0.1, "no normal image"),
    ([0.1, np.nan], 0.1, "1 of 2 normal images have a score that is not"),
  ],
)
def test_mistakes_are_one_clear_line(scores, rate, message):
  with pytest.raises(UserError, match=message):
    anomaly.threshold(np.array(scores), rate)
