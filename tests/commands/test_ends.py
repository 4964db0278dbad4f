"""How every command takes paths, and how one ends that is stopped."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from protojax import cli, configuration
from protojax.engine import workdir
from tests.conftest import DEBUG, ROOT, run_script


@pytest.mark.parametrize("name", sorted(cli.modules()))
def test_the_home_folder_is_known_in_every_path(name, monkeypatch):
  monkeypatch.setenv("HOME", "/home/of-a-user")
  parser = argparse.ArgumentParser()
  module = f"protojax.commands.{cli.modules()[name]}"
  cli.importlib.import_module(module).arguments(parser)
  paths = [
    action
    for action in parser._actions
    if re.fullmatch("DIR2?|FILE|PATH", action.metavar or "")
  ]
  assert paths
  for action in paths:
    assert action.type is cli.path, action.option_strings
  assert cli.path("~/run") == "/home/of-a-user/run"
  assert cli.path("a/~b") == "a/~b"


def test_the_home_folder_is_known_in_the_config(monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", str(tmp_path))
  keys = ["--config.data.root=~/images", "--config.backbone.weights=~/w.npz"]
  config = configuration.load(DEBUG, keys, init_from="~/run")
  assert config.data.root == f"{tmp_path}/images"
  assert config.backbone.weights == f"{tmp_path}/w.npz"
  assert config.init_from == f"{tmp_path}/run"
  # A run from before goes on.
  place = tmp_path / "run"
  workdir.write_json(
    place / "config.json", {**config.to_dict(), "init_from": "~/run"}
  )
  (place / "checkpoints" / "1").mkdir(parents=True)
  workdir.claim(place, config, lambda name: {})


def test_a_wrong_command_line_cannot_steer_the_terminal(capsys):
  with pytest.raises(SystemExit, match="2"):
    cli.run("predict", [".", "--x\x1b[2J\u202e\n"], "predict")
  assert capsys.readouterr().err == (
    r"error: unrecognized arguments: --x\x1b[2J\u202e (see --help)" + "\n"
  )


@pytest.fixture
def run(debug_run, tmp_path):
  """A copy, to be explained."""
  left_out = shutil.ignore_patterns("explanations")
  return shutil.copytree(debug_run, tmp_path / "run", ignore=left_out)


def _stopped(script, seconds, number):
  """Exit code and what was said when a signal came.

  Args:
    script: what is run.
    seconds: after which the signal comes; None for when JAX has a few programs,
      however fast the machine.
    number: of the signal.
  """
  with subprocess.Popen(
    # A shell has Ctrl-C ignored by what it starts in the background, and nohup
    # the end of the terminal.
    [sys.executable, "-c", _AS_IN_A_TERMINAL, *map(str, script)],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    assert process.stdout.readline() == "begun\n"
    if seconds is None:
      assert "computing\n" in iter(process.stdout.readline, "")
      process.send_signal(number)
    else:
      try:
        process.wait(seconds)
      except subprocess.TimeoutExpired:
        process.send_signal(number)
    out, err = process.communicate()
  return process.returncode, out, err


_AS_IN_A_TERMINAL = """
import runpy, signal, sys
from jax import monitoring
from protojax import signals
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
sys.argv = sys.argv[1:]
programs = 0
def count(event, seconds, **about):
  global programs
  programs += event.endswith("backend_compile_duration")
  if programs == 9:
    programs += 1
    print("computing", flush=True)
monitoring.register_event_duration_secs_listener(count)
# However soon it comes.
with signals.handled(signals.leave):
  print("begun", flush=True)
  runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
  ("seconds", "number", "line"),
  [
    (0.4, signal.SIGINT, "interrupted\n"),
    (1.0, signal.SIGTERM, "ended by SIGTERM\n"),
    (None, signal.SIGHUP, "ended by SIGHUP\n"),
  ],
)
def test_explain_is_stopped_at_any_time(run, seconds, number, line):
  script = ["explain.py", f"--workdir={run}", "--split=train"]
  code, _, err = _stopped(script, seconds, number)
  assert (code, err) == (128 + number, line)
  left = list(run.rglob("*.partial"))
  assert not left


@pytest.mark.slow
def test_evaluate_is_stopped_while_jax_computes(debug_run):
  """Threads of JAX crashed while Python took itself down."""
  script = ["protojax/__main__.py", "evaluate", f"--workdir={debug_run}"]
  code, _, err = _stopped(script, None, signal.SIGTERM)
  assert (code, err) == (128 + signal.SIGTERM, "ended by SIGTERM\n")


@pytest.mark.slow
def test_odd_images_give_no_raw_warning(run, tmp_path):
  names = ["=1+1.png", "a\x1b[31mb.png", "c\u202egnp.png", "exif.jpg"]
  image = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
  for name in names[:3]:
    image.save(tmp_path / name)
  # An entry of the EXIF block lies behind its end.
  exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + b"\x0f\x01\x02\0\xff\0\0\0" * 2
  image.save(tmp_path / names[3], exif=exif)
  with (
    pytest.warns(UserWarning, match="EXIF|Tag data"),
    Image.open(tmp_path / names[3]) as broken,
  ):
    broken.getexif()
  done = run_script(
    *("-m", "protojax", "predict", f"--workdir={run}", "--top=0"), tmp_path
  )
  assert done.returncode == 0, done.stderr
  lines = [line for line in done.stderr.splitlines() if line.strip()]
  assert lines[-1] == "images: 4, skipped: 0"
  assert len(lines) == 2  # The other is the bar's.
  found = {os.path.basename(x.split(",")[0]) for x in done.stdout.splitlines()}
  assert found == {
    *("image", "=1+1.png", r"a\x1b[31mb.png", r"c\u202egnp.png", "exif.jpg")
  }


@pytest.mark.slow
@pytest.mark.parametrize("limit", [2000, 20_000])
def test_a_report_that_does_not_fit(run, limit):
  """The limit on the size of a file stands for the disk."""
  script = f"""
import resource, sys
from protojax import cli
import protojax.operations.explaining
def limited():
  resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
  module, args = cli.parse("explain", sys.argv[1:])
  return module.run(args)
sys.exit(cli.guarded(limited))
"""
  before = set(run.rglob("*"))
  flags = "--split=test", "--limit=8", "--format=html,csv,json,npz,png"
  # No half program in the cache that the tests share.
  patient = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e6"}
  done = run_script("-c", script, f"--workdir={run}", *flags, **patient)
  assert done.returncode == 2, done.stderr
  assert re.fullmatch(
    r"error: \S*/explanations/\S* could not be written: .*Make room .*\n",
    done.stderr,
  )
  for path in set(run.rglob("*")) - before:
    assert path.is_dir() or path.stat().st_size < limit, path
    assert ".partial" not in str(path)
