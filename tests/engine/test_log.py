"""metrics.jsonl: one line an event, none twice after a restart."""

import io
import json
import math
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from protojax.console import Console
from protojax.engine import log as log_lib
from protojax.engine.log import Log
from protojax.types import UserError


def _events(path):
  lines = (path / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def test_events_past_the_restored_position_are_cut(tmp_path):
  log = Log(tmp_path)
  for step in (10, 20, 30):
    log.event("01-warm", step // 10, step, "train", {"loss": 1.0 / step}, step)
  log.event("01-warm", 3, 30, "test", {"accuracy": 0.5}, 30)
  log.event("02-push", 0, 1, "test", {"accuracy": 0.4}, 30)
  log.close()

  log = Log(tmp_path, stage=1, step=20, total_steps=20)
  log.event("01-warm", 3, 30, "train", {"loss": 0.25}, 30)
  log.close()
  events = _events(tmp_path)
  assert [(e["stage"], e["step"], e["split"]) for e in events] == [
    ("01-warm", 10, "train"),
    ("01-warm", 20, "train"),
    ("01-warm", 30, "train"),
  ]
  assert events[-1]["loss"] == 0.25
  assert events[0]["loss"] == 0.1


def test_a_torn_last_line_is_dropped(tmp_path):
  log = Log(tmp_path)
  log.event("01-warm", 1, 10, "train", {"loss": 1.0}, 10)
  log.close()
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"stage": "01-warm", "epo')
  Log(tmp_path, stage=1, step=10, total_steps=10).close()
  assert len(_events(tmp_path)) == 1


def test_tensorboard_events_are_written(tmp_path):
  log = Log(tmp_path)
  log.event("01-warm", 1, 10, "train", {"loss": 1.0}, 10)
  log.close()
  files = list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
  assert len(files) == 1
  assert b"train/loss" in files[0].read_bytes()


@pytest.mark.parametrize(
  ("line", "found"),
  [
    (b"\xff", "is not valid JSON"),
    (b'{"stage": "01-a", "ep', "is not valid JSON"),
    (b'{"stage": "01-a", "step": 2, "loss": NaN}', "is not valid JSON: NaN"),
    (b"3", "holds 3; expected an object"),
    (b'{"stage": 1, "step": 2}', "holds 1 at stage; expected a text"),
    (b'{"stage": "01-a"}', "has no key 'step'"),
    (b'{"stage": "a", "step": 2}', "has a stage without a number"),
  ],
)
def test_a_damaged_line_is_named_and_nothing_is_lost(tmp_path, line, found):
  path = tmp_path / "metrics.jsonl"
  good = b'{"stage": "01-a", "step": 1}\n'
  path.write_bytes(good + line + b"\n" + good)
  with pytest.raises(UserError, match=rf"jsonl, line 2 {found}.*: remove"):
    Log(tmp_path, stage=1, step=1)
  assert path.read_bytes() == good + line + b"\n" + good


@pytest.mark.parametrize("end", [b"\xff", b'{"stage": "01-a", "step', b"\0\0"])
def test_what_a_kill_leaves_of_a_line_is_cut(tmp_path, end):
  path = tmp_path / "metrics.jsonl"
  path.write_bytes(b'{"stage": "01-a", "step": 1}\n' + end)
  Log(tmp_path, stage=1, step=1).close()
  assert path.read_text() == '{"stage": "01-a", "step": 1}\n'


def test_tensorboard_reads_the_events(tmp_path):
  log = Log(tmp_path, total_steps=6)
  log.event("01-warm", 1, 10, "train", {"loss": 0.5, "bad": math.nan}, 10)
  log.close()
  (file,) = (tmp_path / "tensorboard").iterdir()
  data, events = file.read_bytes(), []
  while data:
    (size,) = struct.unpack("Q", data[:8])
    events.append(Event.FromString(data[12 : 12 + size]))
    data = data[16 + size :]
  version, start, loss = events
  assert version.file_version == "brain.Event:2"
  assert start.step == 7
  assert start.session_log.status == SessionLog.START
  assert loss.step == 10
  assert loss.wall_time > 1e9
  (value,) = loss.summary.value
  assert (value.tag, value.simple_value) == ("train/loss", 0.5)


@pytest.mark.parametrize("name", ["", "metrics.jsonl", "tensorboard"])
def test_a_place_that_cannot_be_written_is_named(tmp_path, name):
  place = tmp_path / "run" / name
  place.parent.mkdir(exist_ok=True)
  if name == "metrics.jsonl":
    place.mkdir()
  else:
    place.write_text("a file")
  with pytest.raises(
    UserError, match=rf"{name}.* (could not be written|is a f)"
  ):
    Log(tmp_path / "run")


def test_a_stage_is_told_in_one_line():
  metrics = {"accuracy": 0.92371, "cross_entropy": 0.2031, "l1": 660.0}
  line = log_lib.stage_line("02-warm", metrics, 14.96, 3840)
  end = " (15.0 s, 257 images/s)"
  whole = f"02-warm: accuracy 0.9237, cross entropy 0.2031, l1 660{end}"
  assert line(len(whole)) == whole
  assert line(len(whole) - 1) == (
    f"02-warm: accuracy 0.9237, cross entropy 0.2031{end}"
  )
  assert line(20) == f"02-warm:{end}"


def test_where_no_bar_is_drawn_progress_is_told_once_a_minute(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(log_lib.time, "monotonic", lambda: now[0])
  said = io.StringIO()
  piped = log_lib.Piped(Console(file=said, width=80), "04-joint", 8)
  for step in range(1, 8):
    now[0] = 25.0 * step
    piped(step, {"loss": 0.25} if step > 3 else {})
  assert said.getvalue().splitlines() == [
    "04-joint: 38% done",
    "04-joint: 75% done, loss 0.25",
  ]
  screen = io.StringIO()
  log_lib.Piped(Console(file=screen, force_terminal=True), "a", 2)(1, {})
  assert screen.getvalue() == ""
