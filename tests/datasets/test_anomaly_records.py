"""Records of anomalies: same as their folder, written whole or not at all."""

import argparse
import os
from pathlib import Path
import re
import shutil

import numpy as np
import pytest

from protojax.commands import prepare as command
from protojax.datasets import anomalies, anomaly_records, array_records, tfds
from protojax.types import UserError
from tests.conftest import run_script
from tests.datasets import anomaly_fakes as fakes
from tests.datasets import archive_fakes

# Files may have only so many bytes, as on a disk that is nearly full.
_FULL = """
import argparse, resource, sys
from protojax import cli
from protojax.commands import prepare
parser = argparse.ArgumentParser()
prepare.arguments(parser)
limit = int(sys.argv.pop())
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(cli.guarded(lambda: prepare.run(parser.parse_args(sys.argv[1:]))))
"""


def load(name, root, split, **changes):
  return anomalies.open_split(
    fakes.config(name=name, root=str(root), **changes), split
  )


def same(a, b):
  assert a.class_names == b.class_names
  assert a.category_names == b.category_names
  np.testing.assert_array_equal(a.labels, b.labels)
  np.testing.assert_array_equal(a.categories, b.categories)
  for i in range(len(b)):
    assert a.name(i) == b.name(i)
    np.testing.assert_array_equal(a[i]["image"], b[i]["image"])
    np.testing.assert_array_equal(a.truth(i), b.truth(i))


@pytest.mark.parametrize(
  "tree",
  [
    fakes.mvtec("bottle", "cable"),
    fakes.visa("pcb1"),
    fakes.real_iad("toy"),
    fakes.plain(),
  ],
  ids=["mvtec", "visa", "real-iad", "plain"],
)
def test_the_same_as_the_folder(make_folder, tmp_path, tree):
  root, output = make_folder(tree), tmp_path / "new" / "prepared"
  assert anomaly_records.write(root, str(output)).skipped == ()
  for split in anomalies.SPLITS:
    same(load("prepared", output, split), load("folder", root, split))
  same(
    load("prepared", output, "train", shots=2),
    load("folder", root, "train", shots=2),
  )


def test_many_images_in_several_files(make_folder, tmp_path, monkeypatch):
  monkeypatch.setattr(array_records, "_SHARD", 3)
  monkeypatch.setattr(array_records, "_TOGETHER", 2)
  root = make_folder(fakes.mvtec("bottle", "cable"))
  anomaly_records.write(root, str(tmp_path / "out"))
  same(load("prepared", tmp_path / "out", "test"), load("folder", root, "test"))
  assert len(list(tmp_path.rglob("*test.array_record*"))) == 6


def test_tfds_reads_it_too(make_folder, tmp_path):
  root = make_folder(fakes.mvtec("bottle"))
  anomaly_records.write(root, str(tmp_path / "out"))
  source = tfds.opened(anomaly_records.NAME, str(tmp_path / "out"), "test")
  assert source.class_names == ("normal", "crack", "hole")
  assert np.bincount(source.labels).tolist() == [3, 3, 3]


def test_several_prepared_at_once(make_folder, tmp_path):
  for category in ("bottle", "cable"):
    root = make_folder(fakes.mvtec(category))
    anomaly_records.write(root, str(tmp_path / f"{category}s"))
    shutil.rmtree(root)
  both = load("prepared", f"{tmp_path}/bottles,{tmp_path}/cables", "test")
  assert both.category_names == ("bottles/bottle", "cables/cable")
  assert len(both) == 18


def test_the_command(make_folder, tmp_path, capsys):
  root = make_folder(fakes.mvtec("cup") | {"cup/train/good/x.png": b"junk"})
  parser = argparse.ArgumentParser()
  command.arguments(parser)
  args = ["anomaly", f"--source={root}", f"--output={tmp_path / 'out'}"]
  assert command.run(parser.parse_args(args)) == 0
  printed = capsys.readouterr()
  assert printed.out == ""
  assert "skipped cup/train/good/x.png: not an image" in printed.err
  assert "test: 9, train: 8, skipped: 1" in " ".join(printed.err.split())
  with pytest.raises(UserError, match=r"1\.0\.0 is there already"):
    command.run(parser.parse_args(args))


def test_bad_sources(make_folder, tmp_path):
  output = tmp_path / "out"
  with pytest.raises(UserError, match=r"--source=.*nowhere is not a folder"):
    anomaly_records.write(str(tmp_path / "nowhere"), str(output))
  tree = fakes.mvtec("cup")
  del tree["cup/ground_truth/hole/001_mask.png"]
  with pytest.raises(UserError, match="has no mask"):
    anomaly_records.write(make_folder(tree), str(output))
  assert not output.exists()


def test_what_is_no_prepared_data_set(make_folder, tmp_path):
  root = make_folder(fakes.plain())
  with pytest.raises(UserError, match="prepare anomaly --source=DIR"):
    load("prepared", root, "train")
  anomaly_records.write(root, str(tmp_path / "out"))
  (metadata,) = tmp_path.rglob("metadata.json")
  for damage in ("{}", "{"):
    metadata.write_text(damage)
    with pytest.raises(UserError, match=r"metadata\.json .*: prepare the da"):
      load("prepared", tmp_path / "out", "train")


def test_a_killed_writer_leaves_nothing(make_folder, tmp_path):
  def killed():
    raise KeyboardInterrupt

  root, output = make_folder(fakes.plain()), tmp_path / "out"
  with pytest.raises(KeyboardInterrupt):
    anomaly_records.write(root, str(output), advance=killed)
  assert os.listdir(output) == []
  (output / ".anomaly-killed").mkdir()  # what a SIGKILL leaves
  anomaly_records.write(root, str(output))
  assert len(load("prepared", output, "test")) == 13


def test_a_source_that_vanishes(make_folder, tmp_path):
  root = make_folder(fakes.plain())
  with pytest.raises(UserError, match="was readable when"):
    anomaly_records.write(
      root, str(tmp_path / "out"), begin=lambda total: shutil.rmtree(root)
    )
  assert os.listdir(tmp_path / "out") == []


def test_a_place_that_cannot_be_written(make_folder, tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(
    UserError, match=r"file/x/.* could not be written: not a d"
  ):
    anomaly_records.write(
      make_folder(fakes.plain()), str(tmp_path / "file" / "x")
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["anomaly", "cub200"])
def test_a_full_disk_is_one_line(make_folder, tmp_path, kind):
  if kind == "anomaly":
    source = make_folder(fakes.mvtec("cup", train=40))
  else:
    source = archive_fakes.pack(tmp_path, archive_fakes.cub(20), "tgz")
  output = tmp_path / "out"
  done = run_script(
    "-c", _FULL, kind, "--source", source, "--output", output, 5000
  )
  assert done.returncode == 2, done.stderr
  lines = [line for line in done.stderr.splitlines() if "error" in line]
  assert len(lines) == 1
  assert re.search(r"error: cannot write to .* Make room or take", lines[0])
  assert "Traceback" not in done.stderr
  assert list(Path(output).iterdir()) == []
