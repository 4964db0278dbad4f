"""Checkpoints: what comes back, and what is said when it does not."""

import gc
import logging
import pathlib
import shutil
import sys
import types

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from protojax.engine import checkpoint
from protojax.engine.adopt import take_over
from protojax.engine.checkpoint import Checkpoints, Progress, flatten, unflatten
from protojax.types import State, UserError


@pytest.fixture(autouse=True)
def _shown_again(monkeypatch):
  """After a failure messages of threads stay hidden; not from other tests."""
  monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
  for name in "absl", "asyncio":
    logger = logging.getLogger(name)
    monkeypatch.setattr(logger, "filters", list(logger.filters))


def _state(classes=3, seed=0):
  rng = np.random.default_rng(seed)

  def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)

  return State(
    params={"backbone": {"w": normal(4, 4)}, "head": {"w": normal(classes)}},
    statistics={"shift": normal(4)},
    buffers={
      "alive": np.array([True, False]),
      "content": np.arange(32, dtype=np.uint8).reshape(2, 16),
      "empty": np.zeros((0, 3), np.float32),
    },
  )


def _same(a, b):
  a, b = flatten(a), flatten(b)
  assert a.keys() == b.keys()
  for name in a:
    np.testing.assert_array_equal(a[name], b[name])
    assert a[name].dtype == b[name].dtype, name


def test_round_trip_with_optimizer(tmp_path):
  state = _state()
  moments = optax.adam(1e-3).init(state.params)
  progress = Progress(stage=2, step=7, sums={"loss": 1 / 3}, counted=2)
  writer = Checkpoints(tmp_path)
  writer.save(progress, state, {"joint": moments})
  writer.close()

  found, arrays = Checkpoints(tmp_path).restore()
  assert found == progress  # floats too: JSON keeps every bit of them
  tree = unflatten({"state": state, "optimizers": {"joint": moments}}, arrays)
  _same(tree["state"], state)
  _same(tree["optimizers"]["joint"], moments)
  assert tree["state"].buffers["empty"].shape == (0, 3)


def test_newest_wins_and_two_are_kept(tmp_path):
  writer = Checkpoints(tmp_path)
  for step in range(4):
    writer.save(Progress(step=step), _state(seed=step), {})
  writer.close()
  progress, arrays = Checkpoints(tmp_path).restore()
  state = unflatten({"state": _state()}, arrays)["state"]
  assert progress.step == 3
  _same(state, _state(seed=3))
  kept = [p for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()]
  assert len(kept) == 2


def _written_twice(folder):
  """Two checkpoints, of steps 0 and 1, with different arrays."""
  writer = Checkpoints(folder)
  for step in range(2):
    writer.save(Progress(step=step), _state(seed=step), {})
  writer.close()
  return folder / "checkpoints" / "2"


def _array_files(newest):
  files = [p for p in sorted(newest.rglob("*")) if p.is_file()]
  return [p for p in files if "arrays" in p.parts and p.stat().st_size > 20]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, capsys):
  newest = _written_twice(tmp_path)
  for path in _array_files(newest):
    path.write_bytes(path.read_bytes()[:20])
  progress, arrays = Checkpoints(tmp_path).restore()
  assert progress.step == 0
  _same(unflatten({"state": _state()}, arrays)["state"], _state(seed=0))
  said = capsys.readouterr().out
  assert "checkpoints/2 is damaged" in said
  assert "the one before it, 1, is taken" in said


def test_a_read_that_fails_leaves_no_tracebacks_of_threads(
  tmp_path, monkeypatch
):
  """Orbax's threads report to loops that are closed, each with a traceback."""
  _written_twice(tmp_path)
  shown, sound = [], Checkpoints._checked

  def fail(self, number, items):
    if number == 1:
      return sound(self, number, items)
    raise ValueError("cut short")

  monkeypatch.setattr(Checkpoints, "_checked", fail)
  monkeypatch.setattr(sys, "unraisablehook", shown.append)
  assert Checkpoints(tmp_path).restore()[0].step == 0
  for words in "Event loop is closed", "another":
    error = RuntimeError(words)
    sys.unraisablehook(types.SimpleNamespace(exc_value=error))
  assert [str(found.exc_value) for found in shown] == ["another"]


def test_if_all_are_damaged_each_is_named(tmp_path):
  newest = _written_twice(tmp_path)
  for folder in (newest, newest.with_name("1")):
    for path in _array_files(folder):
      path.write_bytes(path.read_bytes()[:20])
  with pytest.raises(UserError, match=r"/2 is damaged.*/1 is damaged.*copy"):
    Checkpoints(tmp_path).restore()


# Parsers that fail leave tasks of their event loop behind.
@pytest.mark.filterwarnings(
  "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning"
)
def test_a_flipped_bit_of_an_array_is_seen(tmp_path, capsys):
  """Of whatever file: no bit of an array changes without a word."""
  newest, quiet = _written_twice(tmp_path), 0
  written = flatten({"state": _state(seed=1)})
  rng = np.random.default_rng(0)
  for path in _array_files(newest):
    sound = path.read_bytes()
    for place in rng.integers(0, len(sound), 8).tolist():
      flipped = bytearray(sound)
      flipped[place] ^= 1 << int(rng.integers(8))
      path.write_bytes(flipped)
      progress, arrays = Checkpoints(tmp_path).restore()
      if progress.step == 1:  # The bit was in none of the arrays.
        quiet += 1
        assert "damaged" not in capsys.readouterr().out
        for name, array in written.items():
          np.testing.assert_array_equal(arrays[name], array)
      else:
        assert "is damaged" in capsys.readouterr().out
    path.write_bytes(sound)
  assert Checkpoints(tmp_path).restore()[0].step == 1
  assert quiet < 8 * len(_array_files(newest))
  gc.collect()  # Their warnings come here, and not in another test.


def test_checkpoints_without_digests_are_read(tmp_path, monkeypatch):
  monkeypatch.setattr(checkpoint, "_digests", lambda arrays: {})
  writer = Checkpoints(tmp_path)
  writer.save(Progress(step=3), _state(), {})
  writer.close()
  monkeypatch.undo()
  assert Checkpoints(tmp_path).restore()[0].step == 3


def test_no_checkpoint_says_how_to_get_one(tmp_path):
  with pytest.raises(UserError, match="holds no checkpoint; train first"):
    Checkpoints(tmp_path).restore()


def test_another_model_lists_what_differs(tmp_path):
  writer = Checkpoints(tmp_path)
  writer.save(Progress(), _state(classes=3), {})
  writer.close()
  with pytest.raises(UserError, match=r"head\.w has shape \(3,\), expected"):
    unflatten({"state": _state(classes=5)}, Checkpoints(tmp_path).restore()[1])


def test_a_disk_that_is_full_is_said_so(tmp_path, monkeypatch):
  writer = Checkpoints(tmp_path)
  writer.save(Progress(), _state(), {})

  def full(*args, **kwargs):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(writer._manager, "save", full)
  with pytest.raises(UserError, match=r"disk is full.*one before it is intact"):
    writer.save(Progress(step=1), _state(), {})
  monkeypatch.undo()
  assert writer.restore()[0].step == 0
  writer.close()


def test_an_error_without_words_is_told_too(tmp_path, monkeypatch):
  writer = Checkpoints(tmp_path)
  writer.save(Progress(), _state(), {})

  def fail(*args, **kwargs):
    raise RuntimeError

  monkeypatch.setattr(writer._manager, "save", fail)
  with pytest.raises(UserError, match="could not be written: no details"):
    writer.save(Progress(step=1), _state(), {})
  writer.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / "checkpoints").write_text("a file")
  writer = Checkpoints(tmp_path)
  assert not writer.exists()
  with pytest.raises(
    UserError, match=r"checkpoints could not .*another place"
  ) as told:
    writer.save(Progress(), _state(), {})
  assert "before it" not in str(told.value)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
  def refuse(self):
    raise PermissionError(13, "Permission denied", str(self))

  monkeypatch.setattr(pathlib.Path, "is_dir", refuse)
  with pytest.raises(UserError, match=r"not be read: permission denied\. Make"):
    Checkpoints(tmp_path).exists()


def test_progress_is_read_without_the_arrays(tmp_path):
  writer = Checkpoints(tmp_path)
  progress = Progress(stage=3, step=5, finished=True)
  writer.save(progress, _state(), {})
  writer.close()
  shutil.rmtree(tmp_path / "checkpoints" / "1" / "arrays" / "d")
  reader = Checkpoints(tmp_path)
  assert reader.progress() == progress
  with pytest.raises(UserError, match="damaged"):
    reader.restore()
  reader.close()


def test_errors_of_others_are_shown_again_after_saving(tmp_path):
  hook, logger = sys.unraisablehook, logging.getLogger("absl")
  filters = list(logger.filters)
  writer = Checkpoints(tmp_path)
  writer.save(Progress(), _state(), {})
  writer.close()
  assert sys.unraisablehook is hook
  assert logger.filters == filters


def test_take_over_keeps_what_fits(tmp_path, capsys):
  trained = _state(classes=3, seed=1)
  writer = Checkpoints(tmp_path)
  writer.save(Progress(), trained, {})
  writer.close()
  fresh = _state(classes=5, seed=2)
  state = take_over(fresh, str(tmp_path), None)
  np.testing.assert_array_equal(
    state.params["backbone"]["w"], trained.params["backbone"]["w"]
  )
  np.testing.assert_array_equal(
    state.params["head"]["w"], fresh.params["head"]["w"]
  )
  assert "anew: params.head" in capsys.readouterr().out


def test_take_over_from_another_backbone_is_refused(tmp_path):
  trained = _state()
  trained = trained.replace(params={"backbone": {"w": np.ones(7)}})
  writer = Checkpoints(tmp_path)
  writer.save(Progress(), trained, {})
  writer.close()
  with pytest.raises(UserError, match=r"the backbone of .* is another one"):
    take_over(_state(), str(tmp_path), None)


def test_take_over_of_nothing_changes_nothing():
  state = _state()
  assert take_over(state, "", None) is state
  assert jnp.all(state.params["head"]["w"] == _state().params["head"]["w"])


def test_take_over_for_other_classes_of_the_same_number(tmp_path, capsys):
  trained, fresh = _state(seed=1), _state(seed=2)
  writer = Checkpoints(tmp_path)
  writer.save(Progress(), trained, {})
  writer.close()
  (tmp_path / "classes.json").write_text('["ant", "bee", "wasp"]')
  same = take_over(fresh, str(tmp_path), ("ant", "bee", "wasp"))
  np.testing.assert_array_equal(
    same.params["head"]["w"], trained.params["head"]["w"]
  )
  other = take_over(fresh, str(tmp_path), ("ant", "bee", "fly"))
  np.testing.assert_array_equal(
    other.params["head"]["w"], fresh.params["head"]["w"]
  )
  np.testing.assert_array_equal(
    other.params["backbone"]["w"], trained.params["backbone"]["w"]
  )
  assert "anew: none" in capsys.readouterr().out


def test_take_over_brings_the_memory_of_the_same_classes(tmp_path):
  """A teacher is that of the pupil which is taken over."""
  trained = _state(seed=1).replace(memory={"teacher": np.ones(3)})
  writer = Checkpoints(tmp_path)
  writer.save(Progress(), trained, {})
  writer.close()
  fresh = _state(seed=2).replace(memory={"teacher": np.zeros(3)})
  (tmp_path / "classes.json").write_text('["ant", "bee"]')
  same = take_over(fresh, str(tmp_path), ("ant", "bee"))
  np.testing.assert_array_equal(same.memory["teacher"], 1)
  other = take_over(fresh, str(tmp_path), ("ant", "fly"))
  np.testing.assert_array_equal(other.memory["teacher"], 0)
