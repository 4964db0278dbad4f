"""What is done with a characterization: explanations, and scenes."""

import json

import jax
import numpy as np
import pytest

from configs import irca_folder
from protojax import methods, parallel
from protojax.datasets import simulated_acquisition as simulated
from protojax.explain import blocks, documents
from protojax.explain.request import Request
from protojax.methods import base
from protojax.methods.irca import device_overview, flags, simulator
from protojax.types import UserError
from tests.methods.irca import irca_fakes

DEAD = 6


@pytest.fixture(scope="module")
def known():
  """A method and a state that is the truth, without a run."""
  method = methods.load(irca_folder.get_config("debug"))
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  truth, s = simulated.truth(), method.source.wavenumbers
  count = len(truth["opd"])
  with jax.enable_x64(True):
    r = np.log(0.2 / 0.8)
    params = {
      **truth,
      "reflectivity": np.tile([r, 0.0, 0.0], (count, 1)),
      "gain": np.tile([300.0, 20.0, 0.0, 0.0], (count, 1)),
    }
  marks = np.zeros(count, np.int32)
  marks[DEAD] = flags.NO_SIGNAL
  marks[7] = flags.OFF_STAIRCASE
  buffers = {**state.buffers, "flags": marks}
  buffers["rmse"] = np.linspace(0.01, 0.03, count)
  buffers["deviations"] = np.full_like(buffers["deviations"], 0.002)
  state = state.replace(params={"interferometers": params}, buffers=buffers)
  return method, state, s


def curves(s, rows=slice(None), cosine=1.0):
  """Transmittances over their means, by the formula."""
  truth = simulated.truth()
  x = 2 * (s - simulated.FIRST) / (simulated.LAST - simulated.FIRST) - 1
  found = irca_fakes.airy(
    s,
    cosine * truth["opd"][rows],
    truth["phase"][rows],
    np.full((1, 1), 0.2),
    300 + 20 * x[None],
  )
  return found / found.mean(axis=1, keepdims=True)


def simulate(known, cube, **inputs):
  method, state, _ = known
  return base.needed(method, "simulates").simulate(
    state, {"cube": cube, **inputs}
  )["interferograms"]


def test_a_pixel_gets_the_sum_of_transmittance_times_spectrum(known):
  rng = np.random.default_rng(0)
  s = np.linspace(1.1, 1.9, 23)
  cube = rng.uniform(0, 1, (3, 4, 23))
  found = simulate(known, cube, wavenumbers=s)
  expected = np.einsum("hwc,ic->hwi", cube, curves(s))
  expected[..., DEAD] = 0
  np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_at_an_angle_the_opd_falls_with_its_cosine(known):
  rng = np.random.default_rng(1)
  cube = rng.uniform(0, 1, (3, 5, len(known[2])))
  found = simulate(known, cube, field_of_view=np.array(12.0))
  angles = simulator.angles((3, 5), 12.0)
  assert angles[0, 0] == pytest.approx(np.deg2rad(12))
  assert angles.max() == angles[0, 0]
  row = [i for i in range(40) if i != DEAD]
  for y, x in ((0, 0), (1, 3), (2, 2)):
    matrix = curves(known[2], cosine=np.cos(angles[y, x]))
    np.testing.assert_allclose(
      found[y, x, row], (matrix @ cube[y, x])[row], rtol=1e-9
    )


@pytest.mark.parametrize(
  ("cube", "inputs", "said"),
  [
    (np.ones((2, 160)), {}, r"shape \(2, 160\); expected real numbers"),
    (np.full((1, 1, 160), 1j), {}, "the cube is complex128"),
    (np.full((1, 1, 160), np.inf), {}, "not finite"),
    (np.ones((1, 1, 7)), {}, "7 bands and there are 160 wavenumbers: name"),
    (
      np.ones((1, 1, 3)),
      {"wavenumbers": np.array([1.0, 2.0, 2.1])},
      "1 of 3 bands are outside of the calibrated 1 to 2 1/um",
    ),
    (np.ones((1, 1, 160)), {"field_of_view": np.array(90.0)}, "below 90"),
  ],
)
def test_scenes_that_do_not_fit_are_refused(known, cube, inputs, said):
  with pytest.raises(UserError, match=said):
    simulate(known, cube, **inputs)


@pytest.fixture(scope="module")
def explained(known):
  method, state, _ = known
  seen = []
  request = Request(scope="local", limit=8, progress=seen.append)
  explains = base.needed(method, "explains")
  found = list(explains.explain(state, method.stream("test"), request))
  assert sum(seen) == 8
  return found


def test_the_device_comes_first_with_its_figures(explained):
  device, *others = explained
  assert device.scope == "overview"
  assert len(others) == 8
  captions = [getattr(block, "caption", "") for block in device.blocks]
  for caption in (
    "Flags",
    "Staircase",
    "Residuals of the interferometers",
    "Reflectivity of the interferometers",
    "Finesse of the interferometers",
    "Uncertainty of the parameters",
    "Interferometers",
  ):
    assert caption in captions, caption
  table = device.blocks[captions.index("Interferometers")]
  assert len(table.rows) == 39
  row = next(r for r in table.rows if r[0] == "interferometer 7")
  assert row[1] == pytest.approx(simulated.truth()["opd"][7])
  assert row[4] == pytest.approx(0.2, abs=1e-6)
  assert row[-1] == "OPD off the staircase"
  figures = dict(row[:2] for row in device.blocks[2].rows)
  assert figures["step of the OPD"] == pytest.approx(0.5, abs=0.01)
  histogram = device.blocks[captions.index("Residuals of the interferometers")]
  (line,) = histogram.series
  assert line.y[1::2].sum() == 39


def test_curves_with_their_residual_and_warnings(known, explained):
  s = known[2]
  by_name = {e.subject: e for e in explained[1:]}
  good = by_name["interferometer 0"]
  response, residual, table = good.blocks
  measured, fitted = response.series
  np.testing.assert_array_equal(measured.x, s)
  apart = (measured.y - fitted.y) / measured.y.mean()
  np.testing.assert_allclose(residual.series[0].y, apart, atol=1e-12)
  assert table.rows[0][2] == pytest.approx(0.002)
  assert good.group == "Interferometers 0 to 39"
  assert good.title == f"OPD {simulated.truth()['opd'][0]:.4g} µm, RMSE 0.01"
  warning, alone = by_name[f"interferometer {DEAD}"].blocks
  assert isinstance(warning, blocks.Note)
  assert len(alone.series) == 1


def test_explanations_read_back_as_they_were(explained):
  for one in explained:
    text = json.dumps(documents.to_json(one))
    assert documents.to_json(documents.from_json(json.loads(text))) == (
      json.loads(text)
    )


def test_without_a_single_good_interferometer_it_says_so(known):
  method, state, _ = known
  dead = np.full(40, flags.NOT_FINITE, np.int32)
  state = state.replace(buffers={**state.buffers, "flags": dead})
  explains = base.needed(method, "explains")
  request = Request(scope="local", limit=1)
  device, one = explains.explain(state, method.stream("test"), request)
  assert device.blocks[-1].text == "No interferometer could be fitted."
  assert len(one.blocks) == 2


def test_two_interferometers_have_no_staircase(known):
  method, state, _ = known
  marks = np.full(40, flags.NOT_FINITE, np.int32)
  marks[:2] = 0
  state = state.replace(buffers={**state.buffers, "flags": marks})
  device = device_overview.overview(method, state)
  captions = [getattr(block, "caption", "") for block in device.blocks]
  assert "Staircase" not in captions
  figures = device.blocks[captions.index("Figures of the device")]
  assert len(figures.rows) == 3
  assert "staircase" not in method.summary(state, [{"metrics": {}}])


def test_a_staircase_is_found_though_a_third_lies_anywhere():
  rng = np.random.default_rng(0)
  number = np.arange(90)
  opd = 1.5 + 0.2 * number + 0.01 * rng.normal(size=90)
  opd[rng.permutation(90)[:30]] = rng.uniform(0, 30, 30)
  nominal = np.full(90, np.nan)
  for known in (nominal, 0.19 * number):
    line, at = flags.staircase(opd, number, np.ones(90, bool), 1.0, known)
    assert line.step == pytest.approx(0.2, abs=2e-3)
    assert line.offset == pytest.approx(1.5, abs=0.05)
    assert 0.6 < line.near < 0.9
    np.testing.assert_allclose(at, line.offset + line.step * number)
