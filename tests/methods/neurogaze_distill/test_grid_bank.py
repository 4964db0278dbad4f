"""The grid and its bank: cells, fill, duplicates, files, bad input."""

import numpy as np
import pytest

from protojax.methods.neurogaze_distill import grid_bank
from protojax.methods.neurogaze_distill.grid import Grid
from protojax.types import UserError

GRID = Grid(5, 5)


def samples(count=400, width=16, seed=0, inside=0.99):
  """Features behind a ReLU that follow their targets."""
  rng = np.random.default_rng(seed)
  targets = rng.uniform(-inside, inside, (count, 2))
  mix = rng.normal(size=(2, width))
  features = np.maximum(targets @ mix + 1.0, 0) + 0.05
  return features, targets


def test_centers_lie_in_their_own_cells():
  for grid in (GRID, Grid(7, 3), Grid(4, 6, (1.0, 0.0), (9.0, 250.0))):
    np.testing.assert_array_equal(
      grid.cells(grid.centers), np.arange(len(grid))
    )
  np.testing.assert_allclose(
    GRID.centers[[0, 6, 12, 24]], [[-0.8, -0.8], [-0.4] * 2, [0, 0], [0.8] * 2],
    atol=1e-7,
  )  # fmt: skip


@pytest.mark.parametrize(
  ("value", "row"),
  [
    (-3.0, 0), (-1.0, 0), (-0.6, 1), (-0.2, 2), (0.2, 3), (0.6, 4), (1.0, 4),
    (7.0, 4), (np.nextafter(np.float32(0.2), np.float32(0)), 2),
  ],
)  # fmt: skip
def test_borders_belong_to_the_upper_cell_and_ends_are_clipped(value, row):
  assert GRID.cells(np.array([[value, 0.0]]))[0] == 5 * row + 2
  assert GRID.cells(np.array([[0.0, value]]))[0] == 10 + row


def test_prototypes_are_centred_unit_means_of_unit_features():
  features, targets = samples()
  bank = grid_bank.build(features, targets, GRID)
  cells = GRID.cells(targets)
  unit = features / np.linalg.norm(features, axis=1, keepdims=True)
  means = np.stack([unit[cells == k].mean(0) for k in range(25)])
  means /= np.linalg.norm(means, axis=1, keepdims=True)
  plain = grid_bank.build(features, targets, GRID, center=False)
  np.testing.assert_allclose(plain.prototypes, means, atol=1e-6)
  means -= means.mean(0)
  means /= np.linalg.norm(means, axis=1, keepdims=True)
  np.testing.assert_allclose(bank.prototypes, means, atol=1e-5)
  np.testing.assert_array_equal(bank.counts, np.bincount(cells, minlength=25))
  # Uncentred, features behind a ReLU are nearly parallel.
  assert grid_bank.facts(plain)["mean_cosine"] > 0.7
  found = grid_bank.facts(bank)
  assert abs(found["mean_cosine"]) < 0.1
  assert found["distance_correlation"] > 0.5
  assert found["empty_cells"] == 0


def test_the_order_of_samples_changes_nothing():
  features, targets = samples()
  order = np.random.default_rng(1).permutation(len(features))
  one = grid_bank.build(features, targets, GRID)
  other = grid_bank.build(features[order], targets[order], GRID)
  np.testing.assert_allclose(one.prototypes, other.prototypes, atol=1e-6)
  np.testing.assert_array_equal(one.counts, other.counts)


def test_empty_cells_copy_the_nearest_the_first_of_several():
  features = np.eye(3) + 0.1
  # Cells 0 (lower left), 12 (middle) and 24.
  targets = np.array([[-0.8, -0.8], [0.0, 0.0], [0.8, 0.8]])
  bank = grid_bank.build(features, targets, GRID)
  centers = GRID.centers.astype(float)
  own = np.array([0, 12, 24])
  for k in set(range(25)) - set(own):
    apart = np.linalg.norm(centers[k] - centers[own], axis=1).round(6)
    assert bank.filled_from[k] == own[apart.argmin()]
    np.testing.assert_array_equal(
      bank.prototypes[k], bank.prototypes[bank.filled_from[k]]
    )
  np.testing.assert_array_equal(bank.filled_from[own], -1)
  # Cell 6 is as far from 0 as from 12.
  assert bank.filled_from[6] == 0
  lengths = np.linalg.norm(bank.prototypes, axis=1)
  np.testing.assert_allclose(lengths, 1, atol=1e-6)
  source = np.where(bank.filled_from < 0, np.arange(25), bank.filled_from)
  first = [source.tolist().index(k) for k in source]
  np.testing.assert_array_equal(bank.roots(), first)
  assert grid_bank.facts(bank)["empty_cells"] == pytest.approx(22 / 25)
  assert bank.as_bank().vectors.shape == (25, 1, 1, 3)


def test_controls_keep_the_cells_and_change_what_lies_in_them():
  bank = grid_bank.build(*samples(), GRID)
  mixed = grid_bank.shuffled(bank, 3)
  assert not np.array_equal(mixed.prototypes, bank.prototypes)
  np.testing.assert_array_equal(
    np.unique(mixed.prototypes, axis=0), np.unique(bank.prototypes, axis=0)
  )
  drawn = grid_bank.random(bank, 3)
  assert abs(np.sum(drawn.prototypes * bank.prototypes, axis=1)).mean() < 0.5
  assert len({bank.digest(), mixed.digest(), drawn.digest()}) == 3
  assert grid_bank.shuffled(bank, 3).digest() == mixed.digest()


def test_a_bank_is_written_and_read(tmp_path):
  bank, path = grid_bank.build(*samples(), GRID), tmp_path / "bank.npz"
  grid_bank.write(path, bank)
  found = grid_bank.read(str(path), GRID, 16)
  assert found.digest() == bank.digest()
  # Rows of somebody else need no more than the prototypes.
  np.savez(path, prototypes=bank.prototypes)
  found = grid_bank.read(str(path), GRID, 16)
  np.testing.assert_array_equal(found.prototypes, bank.prototypes)


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (lambda a: a.pop("prototypes"), "lacks prototypes; it has centers"),
    (lambda a: a.update(prototypes=a["prototypes"][:9]), r"\(9, 16\)"),
    (lambda a: a.update(prototypes=2 * a["prototypes"]), "not of length 1"),
    (lambda a: a.update(centers=a["centers"] + 4), "not those of the config"),
    (lambda a: a.update(counts=a["counts"] + 1), "was changed after"),
  ],
)
def test_a_file_of_another_bank_is_refused(tmp_path, change, said):
  bank, path = grid_bank.build(*samples(), GRID), tmp_path / "bank.npz"
  arrays = {**bank._asdict(), "sha256": np.array(bank.digest())}
  change(arrays)
  np.savez(path, **arrays)
  with pytest.raises(UserError, match=said):
    grid_bank.read(str(path), GRID, 16)


def test_what_is_no_file_of_arrays_is_refused(tmp_path):
  path = tmp_path / "bank.npz"
  with pytest.raises(UserError, match=r"bank\.npz"):
    grid_bank.read(str(path), GRID, 16)
  path.write_text("prototypes")
  with pytest.raises(UserError, match=r"cannot be read: .* pickled"):
    grid_bank.read(str(path), GRID, 16)
  with path.open("wb") as file:
    np.save(file, np.ones(3))
  with pytest.raises(UserError, match="holds one array; expected several"):
    grid_bank.read(str(path), GRID, 16)


def test_a_grid_without_a_sample_or_a_direction_is_refused():
  features, targets = samples(30)
  with pytest.raises(UserError, match="0 features and 0 targets"):
    grid_bank.build(features[:0], targets[:0], GRID)
  with pytest.raises(UserError, match="in 1 of 30 rows"):
    grid_bank.build(
      features, np.where(np.arange(60).reshape(30, 2) == 3, np.nan, targets),
      GRID,
    )  # fmt: skip
  with pytest.raises(UserError, match="in 1 of 25 cells"):
    grid_bank.build(features, 0 * targets, GRID)
  assert grid_bank.build(features, 0 * targets, GRID, center=False).counts[12]
  with pytest.raises(UserError, match="below that of"):
    Grid(5, 5, (0.0, 0.0), (1.0, 0.0))
