"""The three steps on files: against the authors' code, and with bad input."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import irca_folder
from protojax import methods, parallel
from protojax.datasets import simulated_acquisition as simulated
from protojax.methods.irca import flags, results
from protojax.types import UserError
from tests.methods.irca import irca_fakes

_AUTHORS = Path(__file__).parent / "imspoc_uv_2"
# Rows of the spoiled acquisition, and what is wrong with them.
DEAD, NAN, NEGATIVE, SHORT = 3, 5, 7, 9


def load(variants, **changes):
  config = irca_folder.get_config(variants).unlock()
  config.update_from_flattened_dict(changes)
  return methods.load(config.lock())


def trained(method):
  """States after each step."""
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  states = []
  for stage in method.stages():
    state, _ = stage.sweep(state, stage.data)
    states.append(state)
  return states


def test_it_finds_what_the_authors_code_finds():
  """In parity mode; the reference ran on all interferometers."""
  method = load(
    "parity", **{"data.root": str(_AUTHORS), "preset": "imspoc_uv_2"}
  )
  _, begun, done = trained(method)
  expected = np.load(_AUTHORS / "reference.npz")
  start = begun.params["interferometers"]
  np.testing.assert_allclose(start["opd"], expected["start_opd"], atol=1e-9)
  np.testing.assert_allclose(start["phase"], expected["start_phase"], atol=1e-4)
  reflectivity = start["reflectivity"][:, 0]
  np.testing.assert_allclose(
    reflectivity, expected["start_reflectivity"], atol=1e-4
  )
  opd = done.params["interferometers"]["opd"]
  apart = np.abs(opd - expected["opd"])
  assert np.mean(apart < 1e-3) >= 0.97
  assert apart.max() < 0.05
  rmse = done.buffers["rmse"]
  root = np.sqrt(np.mean(rmse**2))
  assert abs(root - np.sqrt(np.mean(expected["rmse"] ** 2))) < 1e-4
  assert (rmse < expected["rmse"] + 1e-3).all()
  assert not (done.buffers["flags"] & flags.NOT_CONVERGED).any()


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory):
  """Method and states of the embedded device with bad interferometers.

  Sources are not in order, and one comes twice.
  """
  folder = tmp_path_factory.mktemp("spoiled")
  source = simulated.load(None, "test", 0)
  data, mean = source.data.copy(), source.mean.copy()
  s = source.wavenumbers.copy()
  norm = source.norm[0].copy()
  for array in (s, norm, data, mean):
    array[..., 41] = array[..., 40]
  data[DEAD] = mean[DEAD] = 0
  data[NAN, 60] = np.nan
  data[NEGATIVE] -= 2 * data[NEGATIVE].mean()
  slow = irca_fakes.airy(
    s, np.array([0.4]), np.array([3.0]), np.array([[0.3]]), norm[None]
  )
  data[SHORT] = mean[SHORT] = slow[0]
  order = np.random.default_rng(0).permutation(len(s))
  for name, array in (("data", data), ("mean", mean), ("norm", norm)):
    np.save(folder / f"{name}.npy", array[..., order])
  np.save(folder / "central_wavenumbers.npy", s[order])
  (folder / "options.json").write_text(json.dumps({"opd_step": simulated.STEP}))
  method = load(
    "debug",
    **{
      "data.name": "acquisition",
      "data.root": str(folder),
      # More than one batch, the last one padded.
      "batch_size": 16,
    },
  )
  return method, trained(method)


def test_bad_interferometers_are_flagged_and_leave_the_others_alone(spoiled):
  method, (_, _, state) = spoiled
  marks = state.buffers["flags"]
  assert marks[DEAD] == flags.NO_SIGNAL
  assert marks[NAN] == flags.NOT_FINITE
  assert marks[NEGATIVE] == flags.NO_SIGNAL
  assert marks[SHORT] & flags.OPD_TOO_SMALL
  good = np.setdiff1d(np.arange(len(marks)), (DEAD, NAN, NEGATIVE, SHORT))
  assert (marks[good] == 0).all()
  truth = simulated.truth()
  made, deviations = (
    state.params["interferometers"],
    state.buffers["deviations"],
  )
  for name, column in (("opd", 0), ("phase", 1)):
    apart = np.abs(made[name] - truth[name])[good]
    assert np.mean(apart < 3 * deviations[good, column]) >= 0.95
  # The noise is what is left.
  assert np.median(state.buffers["rmse"][good]) == pytest.approx(0.02, rel=0.1)
  r = method.model.reflectivities(
    method.source.wavenumbers, made["reflectivity"][good]
  )
  expected = simulated.reflectivity(method.source.wavenumbers)
  assert np.abs(np.median(r, axis=0) - expected).max() < 0.01


def test_a_line_for_each_thing_that_is_wrong(spoiled, capsys):
  method, (state, begun, _) = spoiled
  method.gain(state, method.stream("test"))
  said = capsys.readouterr().out.splitlines()
  assert len(said) == 4
  for text in ("not ascending", "repeats 1", "1 of 40", "2 of 40"):
    assert any(text in line for line in said)
  method.refine(begun, method.stream("test"))
  said = capsys.readouterr().out.splitlines()
  assert (
    "note: 1 of 40 interferometers are flagged: OPD below one fringe"
    in (said[0])
  )


def test_an_acquisition_without_any_signal_is_told(spoiled, caplog):
  method, (state, *_) = spoiled
  # The same shapes, so that nothing is compiled again.
  source = method.source
  method.__dict__["source"] = dataclasses.replace(
    source, norm=np.zeros_like(source.norm)
  )
  try:
    dark, metrics = method.gain(state, method.stream("test"))
    assert metrics == {"left_out": 40}
    assert [record.message for record in caplog.records] == [flags.NONE_LEFT]
    found = method.evaluate(dark, "test")
    # No residual is no fit.
    assert found == {"explained": 0.0}
    summary = method.summary(dark, [{"metrics": found}])
    assert (summary["fitted"], summary["warning"]) == (0, flags.NONE_LEFT)
    assert "staircase" not in summary
  finally:
    method.__dict__["source"] = source


def test_each_step_explains_more_and_the_summary_says_what_was_left(spoiled):
  method, states = spoiled
  found = [method.evaluate(state, "test") for state in states]
  assert found[0]["explained"] < found[1]["explained"] < found[2]["explained"]
  known = flags.usable(states[-1].buffers["flags"])
  rmse = states[-1].buffers["rmse"][known]
  root = np.sqrt(np.mean(rmse**2))
  assert found[-1]["rmse"] == pytest.approx(root, rel=1e-9)
  summary = method.summary(states[-1], [{"metrics": found[-1]}])
  assert summary["interferometers"] == 40
  assert summary["fitted"] == 37
  assert summary["converged"] >= 36
  assert summary["staircase"]["step"] == pytest.approx(0.5, abs=0.01)
  assert sum(summary["flags"].values()) >= 4
  assert "warning" not in summary


def test_permuted_and_scaled_responses_permute_and_scale_results(spoiled):
  method, (*_, state) = spoiled
  source = method.source
  order = np.random.default_rng(1).permutation(len(source))
  # The same shapes, so that nothing is compiled again.
  changed = {
    "data": 7 * source.data[order],
    "mean": 7 * source.mean[order],
    "nominal": source.nominal[order],
  }
  method.__dict__["source"] = dataclasses.replace(source, **changed)
  nominal = method.__dict__.pop("_nominal")
  try:
    *_, moved = trained(method)
  finally:
    method.__dict__.update(source=source, _nominal=nominal)
  made, other = (s.params["interferometers"] for s in (state, moved))
  for name in ("opd", "phase", "reflectivity"):
    np.testing.assert_allclose(other[name], made[name][order], atol=1e-6)
  np.testing.assert_allclose(other["gain"], 7 * made["gain"][order], rtol=1e-5)
  rmse = state.buffers["rmse"][order]
  np.testing.assert_allclose(moved.buffers["rmse"], rmse, rtol=1e-7)


def test_float64_stays_inside(spoiled):
  method, states = spoiled
  assert not jax.config.jax_enable_x64
  for leaf in jax.tree.leaves(states[-1].params):
    assert leaf.dtype == np.float64
  batches = method.stream("test").batches()
  _, rows = next(parallel.each(method.predict, states[-1], batches))
  assert rows["transfer"].dtype == np.float32
  assert np.isfinite(rows["transfer"]).all()
  assert jax.numpy.zeros(1).dtype == np.float32


def test_the_authors_layout_gives_the_same_curves(spoiled, tmp_path):
  method, states = spoiled
  results.write(method, states[-1], tmp_path)
  made = dict(np.load(tmp_path / "characterization.npz"))
  assert np.isnan(made["opd"]).sum() == 3
  covariance = made["covariance"]
  np.testing.assert_allclose(
    np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)),
    made["deviations"],
    rtol=1e-9,
  )
  folder = tmp_path / "characterization"
  assert json.loads((folder / "options.json").read_text())["model"] == 0
  opd, phase, r, gain = (
    np.load(folder / f"{name}.npy")
    for name in ("opd", "phase_shift", "reflectivity", "gain")
  )
  known = np.isfinite(opd[:, 0])
  s = method.source.wavenumbers

  def polynomial(coefficients):
    return np.polynomial.polynomial.polyval(s, coefficients[known].T)

  curves = irca_fakes.airy(
    s, opd[known, 0], phase[known, 0], polynomial(r), polynomial(gain)
  )
  own = {k: x[known] for k, x in states[-1].params["interferometers"].items()}
  with jax.enable_x64(True):
    ours = method.transfer(own, s)
  np.testing.assert_allclose(curves, ours, rtol=1e-3)


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({"preset": "imspoc"}, "choose one of imspoc_uv_1"),
    ({"precision": "half"}, "choose from 'float64', 'float32'"),
    ({"free": ("opd", "shift")}, "config.free is 'shift'"),
    ({"free": ()}, "config.free is empty"),
    ({"refine.loss": "l1"}, "choose from 'squares'"),
    ({"refine.tolerance": 0.0}, "refine.tolerance is 0.0; it must be"),
    ({"waves": -1}, "config.waves is -1"),
  ],
)
def test_settings_are_refused_by_their_keys(changes, said):
  with pytest.raises(UserError, match=said):
    load("debug", **changes)


def test_too_few_sources_for_the_unknowns():
  method = load("debug", **{"degrees.gain": 32, "degrees.reflectivity": 32})
  method.source.__dict__["wavenumbers"] = method.source.wavenumbers[:60]
  with pytest.raises(UserError, match="60 sources cannot tell 68 unknowns"):
    method.model  # noqa: B018
