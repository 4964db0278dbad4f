"""The method: what is frozen stays, and an answer needs no prototype."""

import json

import jax
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.configs import neurogaze_distill_folder
from protojax.engine import assets, descent
from protojax.explain import blocks, familiarity, in_blocks
from protojax.explain.request import Request
from protojax.methods.neurogaze_distill import (
  data_card,
  faces,
  grid_bank,
  losses,
  results,
)
from protojax.methods.neurogaze_distill.grid import Grid
from protojax.modify import presets
from protojax.types import UserError


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
  """A bank of somebody else, in a file."""
  rng = np.random.default_rng(0)
  targets = rng.uniform(-1, 1, (300, 2))
  features = targets @ rng.normal(size=(2, 16)) + 0.1 * rng.normal(size=16)
  made = grid_bank.build(features, targets, Grid(5, 5))
  path = tmp_path_factory.mktemp("bank") / "bank.npz"
  grid_bank.write(path, made)
  return path, made


def load(path, **changes):
  config = neurogaze_distill_folder.get_config("debug").unlock()
  config.update_from_flattened_dict(
    {
      "teacher_prototypes": str(path),
      "kd_mse.source": "prototype",
      "d_geo.positive_classes": ("one", "two"),
      **changes,
    }
  )
  return methods.load(config.lock())


@pytest.fixture(scope="module")
def trained(bank, tmp_path_factory):
  """The method, and its state before and after three steps of the student."""
  method = load(bank[0], **{"external.sets": ("rotated",)})
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  trees = assets.found(method.assets, tmp_path_factory.mktemp("run"), {}, {})
  state = state.replace(assets=parallel.replicate(trees))
  start, student, images = method.stages()
  state, _ = start.sweep(state, start.data)
  moments = student.optimizer.init(state.params)
  updates = descent.fit(student, state, moments, parallel.key(0))
  found = [parallel.to_host(next(updates)) for _ in range(3)]
  updates.close()
  after = found[-1].state.replace(assets=state.assets)
  after, _ = images.sweep(after, images.data)
  return method, state, after, found


def test_a_bank_of_a_file_needs_no_measurements(bank, trained):
  method, before, _, _ = trained
  names = [stage.name for stage in method.stages()]
  assert names == ["start", "student", "nearest images"]
  found = before.assets["bank"]
  np.testing.assert_array_equal(found["prototypes"], bank[1].prototypes)
  assert results.fingerprint(method, bank[1])["prototypes_sha256"] == (
    bank[1].digest()
  )


def test_all_terms_are_there_and_the_bank_does_not_move(bank, trained):
  _, before, after, updates = trained
  terms = set(updates[0].metrics)
  assert {"cross_entropy", "kd", "proto", "geo", "loss"} <= terms
  weight = 0.3 * updates[0].metrics["kd"] + 0.12 * updates[0].metrics["proto"]
  # The ramp of D-Geo begins at 0.
  expected = updates[0].metrics["cross_entropy"] + weight
  np.testing.assert_allclose(updates[0].metrics["loss"], expected, rtol=1e-5)
  assert (
    grid_bank.GridBank(
      *(np.asarray(after.assets["bank"][n]) for n in grid_bank.GridBank._fields)
    ).digest()
    == bank[1].digest()
  )
  moved = jax.tree.map(
    lambda a, b: bool(np.any(np.asarray(a) != np.asarray(b))),
    before.params,
    after.params,
  )
  for group in ("backbone", "head", "projection"):
    assert all(jax.tree.leaves(moved[group])), group
  assert after.memory["seen"].all()
  lengths = np.linalg.norm(after.memory["means"], axis=1)
  assert (lengths <= 1).all()
  assert (lengths > 0.1).all()


def test_training_begins_with_the_data_card(bank, capsys):
  method = load(bank[0])
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  method.start(state, method.stream("train"))
  said = capsys.readouterr()
  assert data_card.TEXT in said.out + said.err


def test_an_answer_reads_no_prototype(trained):
  """Its program has neither the bank nor the projection among its inputs."""
  method, _, after, _ = trained
  batch = next(method.stream("test").batches())
  bare = after.replace(
    assets={}, params={k: after.params[k] for k in ("backbone", "head")}
  )
  found = jax.eval_shape(method.predict, bare, {"image": batch["image"]})
  assert found["logits"].shape == (len(batch["image"]), 8)


def test_the_largest_logit_says_how_familiar_an_image_is(trained):
  method, _, after, _ = trained
  known = familiarity.measure(method, after, familiarity.LOGIT)
  batch = next(method.stream("test").batches())
  rows = jax.jit(method.predict)(after, {"image": batch["image"]})
  first = {"logits": np.asarray(rows["logits"][0])}
  wanted = (1 + np.sum(known.best <= first["logits"].max())) / (
    1 + len(known.best)
  )
  assert 0 < known.of_row(first, after) <= 100
  np.testing.assert_allclose(known.of_row(first, after), 100 * wanted)


def test_each_cell_has_its_nearest_training_images(trained):
  method, _, after, _ = trained
  rows, cosines = after.buffers["faces"], after.buffers["face_cosines"]
  assert rows.shape == (25, 2)
  assert (np.diff(cosines, axis=1) <= 1e-5).all()
  every, _ = faces.nearest_images(
    method.network, after, method.stream("train"), len(method.stream("train"))
  )
  # All images, each once, and the first ones are those that are kept.
  np.testing.assert_array_equal(np.sort(every[7]), np.arange(len(every[7])))
  np.testing.assert_array_equal(every[:, :2], rows)


def test_cells_name_both_numbers_and_grey_images_have_no_hue(trained):
  method, _, after, _ = trained
  preset = presets.load("hue=0.1", "fast", "none")
  known = familiarity.measure(method, after, familiarity.LOGIT)
  request = Request(preset=preset, limit=2, known=known)
  explained = list(
    method.capabilities.explains(method).explain(
      after, method.stream("test"), request
    )
  )
  assert [e.scope for e in explained] == (
    ["local"] * 2 + ["overview"] + ["global"] * 25
  )
  image, overview, cell = explained[0], explained[2], explained[3]
  hue = preset.names.index("hue 0.1")
  assert overview.blocks[0] == blocks.Note(data_card.TEXT, "warning")
  assert in_blocks.GREY in image.blocks  # The digits are grey.
  notes = [b for b in image.blocks if isinstance(b, blocks.Note)]
  assert sum("images the model knows" in note.text for note in notes) == 1
  (sentence,) = (b for b in image.blocks if isinstance(b, blocks.Sentence))
  assert sentence.text.count("valence ") == sentence.text.count("arousal ") == 2
  (matrix,) = (b for b in overview.blocks if isinstance(b, blocks.Matrix))
  assert matrix.rows[0] == "valence -0.8 / arousal -0.8"
  for found in image, overview:
    (drawn,) = (b for b in found.blocks if isinstance(b, blocks.Map))
    assert drawn.caption.endswith("; valence to the right, arousal upwards")
  np.testing.assert_array_equal(
    np.isnan(matrix.values).all(axis=0), [False, True]
  )
  assert cell.group == "valence -0.8"
  (table,) = (
    b for b in cell.blocks if getattr(b, "columns", ())[-1:] == ("images",)
  )
  assert table.rows[hue] == ("hue 0.1", None, 0)
  assert in_blocks.GREY in cell.blocks


def test_files_have_the_form_of_the_readme(trained, tmp_path):
  method, _, after, _ = trained
  results.write(method, after, tmp_path)
  for name in ("metrics.json", "metrics_rotated.json"):
    found = json.loads((tmp_path / name).read_text())
    assert list(found) == ["8way", "present_only"]
    assert set(found["8way"]) == {"acc", "macro_f1", "bacc"}
    present = found["present_only"]
    assert set(present) - set(found["8way"]) == {"present_idx", "present_names"}
  assert "three" not in present["present_names"]
  printed = json.loads((tmp_path / "fingerprint.json").read_text())
  assert len(printed["config_sha256"]) == 64
  assert printed["switches"]["geo"] is True
  again = grid_bank.read(str(tmp_path / "prototypes.npz"), method.grid, 16)
  assert again.digest() == printed["prototypes_sha256"]
  summary = method.summary(after, [])
  assert summary["external"].keys() == {"rotated"}
  assert summary["positive_variance"] > 0


def test_a_bank_of_another_width_is_refused(bank):
  method = load(bank[0], **{"bank.channels": 8})
  with pytest.raises(UserError, match=r"\(25, 16\); the config has 5 x 5"):
    method.assets["bank"].make()


def test_logits_of_the_bank_tell_classes_by_their_places(bank):
  q = losses.proto_targets(bank[1], np.array([[0.8, 0.4], [-0.8, -0.4]]))
  assert losses.class_similarity(bank[1], q)[0, 1] < 0
