"""Slopes of costs: closed forms, and a method whose prototypes are doubled."""

import pytest

from benchmarks import growth, large, pictures
from protojax import methods
from protojax.data import stream

SIZES = [4, 8, 16, 32]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_slope_is_the_exponent_of_what_grows(power):
  costs = [1e6 + 3 * size**power for size in SIZES]
  assert growth.slope(SIZES, costs) == pytest.approx(power, abs=1e-6)


def test_what_does_not_grow_has_no_slope():
  assert growth.slope(SIZES, [7.0] * 4) == 0.0


def test_slope_of_the_larger_of_two():
  costs = [max(16.0, 2.0 * size) for size in SIZES]
  assert 0 < growth.slope(SIZES, costs) < 1


def test_every_method_has_axes():
  assert set(growth.AXES) == set(methods.names())


def test_cost_of_a_fit_of_curves_is_in_proportion_to_their_points():
  row = growth.slopes("irca", growth.AXES["irca"]["sources"])
  assert row["above"] == "no"
  assert row["step, products"] == pytest.approx(1, abs=0.05)


@pytest.mark.slow
def test_cost_is_in_proportion_to_prototypes():
  row = growth.slopes("protopnet", growth.AXES["protopnet"]["prototypes"])
  assert row["above"] == "no"
  assert row["step, products"] == pytest.approx(1, abs=0.1)


def test_a_watched_stream_notes_memory_at_each_mark():
  source = pictures.Tiled(pictures.random(2, 8), 1000, ("a", "b"))
  watched = large.Watched(stream.ordered(source, 8, 10, cache_bytes=0))
  batches = list(watched.batches())
  assert len(batches) == 100
  assert batches[-1]["label"].tolist() == [0, 1] * 5
  assert len(watched.resident) == 3
  assert all(x > 1e6 for x in watched.resident)
