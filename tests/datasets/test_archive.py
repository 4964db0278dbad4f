"""Archives of every kind, and what is wrong with them."""

import gzip
import io
import os
from pathlib import Path
import tarfile
import tracemalloc
import zipfile

import pytest

from protojax.datasets import archive
from protojax.types import UserError
from tests.datasets import archive_fakes as fakes

TREE = {
  "a/one.txt": b"1",
  'a/deep/two\'s "ü".txt': b"22",
  "b": None,
  "three": b"",
}


@pytest.mark.parametrize("kind", fakes.KINDS)
def test_the_same_files_whatever_holds_them(tmp_path, kind):
  files = archive.opened(fakes.pack(tmp_path, TREE, kind))
  expected = {name: c for name, c in TREE.items() if c is not None}
  assert set(files.names) == set(expected)
  assert files.folders == {"a", "a/deep", "b"}
  assert dict(files.read(expected)) == expected
  assert list(files.read(["three", "a/one.txt", "four"])) == [
    (name, TREE[name]) for name in files.names if name in ("three", "a/one.txt")
  ]


def test_archives_in_a_folder_count_as_unpacked(tmp_path):
  home = tmp_path / "set"
  fakes.pack(tmp_path, {"x/1": b"mine"}, "folder")
  fakes.pack(home, {"x/1": b"other", "x/2": b"2"}, "tgz", "one")
  fakes.pack(home, {"x/3": b"3"}, "zip", "two")
  files = archive.opened(str(home))
  wanted = ["x/1", "x/2", "x/3"]
  assert dict(files.read(wanted)) == {"x/1": b"mine", "x/2": b"2", "x/3": b"3"}


def member(name, kind=tarfile.REGTYPE, link=""):
  found = tarfile.TarInfo(name)
  found.type, found.linkname = kind, link
  return found


def test_what_leads_out_of_an_archive_is_not_in_it(tmp_path):
  with tarfile.open(tmp_path / "a.tar", "w") as file:
    for found in (
      member("../up"),
      member("x/../../up"),
      member("/root"),
      member("link", tarfile.SYMTYPE, "/etc/passwd"),
      member("hard", tarfile.LNKTYPE, "./good"),
      member("device", tarfile.CHRTYPE),
      member("pipe", tarfile.FIFOTYPE),
      member("./good"),
    ):
      file.addfile(found)
  assert list(archive.opened(str(tmp_path / "a.tar")).names) == ["good"]
  with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
    for name in ("../up", "/root", "good", "good/../../up"):
      file.writestr(name, b"")
  assert list(archive.opened(str(tmp_path / "a.zip")).names) == ["good"]
  assert sorted(os.listdir(tmp_path)) == ["a.tar", "a.zip"]


def test_a_file_that_is_there_twice_is_read_once(tmp_path):
  path = str(tmp_path / "a.tar")
  with tarfile.open(path, "w") as file:
    for name, content in ("x", b"1"), (".y", b""), (".y", b""), ("./x", b"22"):
      found = member(name)
      found.size = len(content)
      file.addfile(found, io.BytesIO(content))
  files = archive.opened(path)
  assert list(files.read(["x"])) == [("x", b"1")]
  assert files.skipped == (("x", f"2 times in {path}: the first is read"),)


def test_a_file_that_vanishes(tmp_path):
  root = fakes.pack(tmp_path, {"x": b"1", "y": b"2"}, "folder")
  files = archive.opened(root)
  os.remove(os.path.join(root, "x"))
  with pytest.raises(UserError, match=r"x was in .* opened and is not now"):
    list(files.read(["x", "y"]))


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
def test_a_damaged_archive_is_one_line(tmp_path, kind):
  tree = {f"{i}.jpg": fakes.jpeg(i, 64, 64) for i in range(4)}
  place = Path(fakes.pack(tmp_path, tree, kind))
  content = place.read_bytes()
  place.write_bytes(content[: len(content) // 2])
  with pytest.raises(UserError, match=rf"set\.{kind} is damaged or cut short"):
    archive.opened(str(place))
  place.write_bytes(b"no archive at all")
  with pytest.raises(UserError, match="is damaged or cut short"):
    archive.opened(str(place))


def test_a_damaged_file_inside(tmp_path):
  place = Path(fakes.pack(tmp_path, {"x": b"abcdefgh" * 50}, "zip"))
  content = bytearray(place.read_bytes())
  content[35] ^= 255
  place.write_bytes(content)
  files = archive.opened(str(place))
  with pytest.raises(UserError, match="is damaged or cut short"):
    list(files.read(["x"]))


def test_what_is_too_large_or_no_archive(tmp_path, monkeypatch):
  place = fakes.pack(tmp_path, {"x": b"12345"}, "tgz")
  monkeypatch.setattr(archive, "_LARGEST", 4)
  with pytest.raises(UserError, match=r"x in .*set\.tgz has 0 MB: no image"):
    list(archive.opened(place).read(["x"]))
  with pytest.raises(UserError, match=r"--source=.*nowhere is not there"):
    archive.opened(str(tmp_path / "nowhere"))
  (tmp_path / "x.rar").write_bytes(b"")
  with pytest.raises(UserError, match=r"neither a folder nor one of \.tar"):
    archive.opened(str(tmp_path / "x.rar"))


_EXTRA = {
  "long name": tarfile.GNUTYPE_LONGNAME,
  "long link": tarfile.GNUTYPE_LONGLINK,
  "pax": tarfile.XHDTYPE,
  "pax of all": tarfile.XGLTYPE,
  "pax of Solaris": tarfile.SOLARIS_XHDTYPE,
}


def _extra(kind, content, size=None):
  """A block that says something about the next member."""
  found = member("x", kind)
  found.size = len(content) if size is None else size
  padding = bytes(-len(content) % 512)
  return found.tobuf(tarfile.GNU_FORMAT) + content + padding


def _tgz(path, *blocks):
  with gzip.open(path, "wb") as file:
    for block in blocks:
      file.write(block)
  return str(path)


@pytest.mark.parametrize("kind", _EXTRA)
def test_long_extra_fields_are_not_read(tmp_path, kind):
  """Here of 8 MB in 8 KB of file; a header could promise gigabytes."""
  path = _tgz(
    tmp_path / "a.tgz", _extra(_EXTRA[kind], b"a" * (8 << 20)), bytes(1024)
  )
  tracemalloc.start()
  with pytest.raises(UserError, match="8,388,608 bytes of extra fields"):
    archive.opened(path)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 2 << 20


def test_fields_for_all_files_do_not_pile_up(tmp_path):
  def fields(number):
    text = f"30001 k{number}={'v' * (30001 - 9 - len(str(number)))}\n".encode()
    assert len(text) == 30001
    return _extra(tarfile.XGLTYPE, text)

  path = _tgz(tmp_path / "a.tgz", *map(fields, range(9)), bytes(1024))
  with pytest.raises(UserError, match="bytes of extra fields for"):
    archive.opened(path)


def test_names_as_long_as_a_disk_allows(tmp_path):
  name = "/".join(["d" * 200] * 20)
  for number, form in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
    path = tmp_path / f"{number}.tar"
    with tarfile.open(path, "w", format=form) as file:
      file.addfile(member(name))
    assert list(archive.opened(str(path)).names) == [name]


@pytest.mark.parametrize("version", ["", "0.0", "0.1", "1.0"])
def test_sparse_files_are_refused(tmp_path, version):
  """Their maps are read without a limit, and one of them without an end."""
  fields = {
    "": {},
    "0.0": {"GNU.sparse.size": "9", "GNU.sparse.offset": "0"},
    "0.1": {"GNU.sparse.size": "9", "GNU.sparse.map": "0,9"},
    "1.0": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
  }[version]
  path = tmp_path / "a.tar"
  with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as file:
    found = member("x", tarfile.REGTYPE if version else tarfile.GNUTYPE_SPARSE)
    found.pax_headers = fields
    file.addfile(found)
  with pytest.raises(UserError, match="'x' is a sparse file"):
    archive.opened(str(path))


def test_many_extra_fields_in_a_row(tmp_path):
  block = _extra(tarfile.GNUTYPE_LONGNAME, b"name")
  path = _tgz(tmp_path / "a.tgz", block * 5000, bytes(1024))
  with pytest.raises(UserError, match="damaged or cut short"):
    archive.opened(path)


def test_members_and_names_are_bounded(tmp_path, monkeypatch):
  empty = b"".join(member(f"{i:04d}").tobuf() for i in range(300))
  path = _tgz(tmp_path / "a.tgz", empty, bytes(1024))
  assert len(list(archive.opened(path).names)) == 300
  monkeypatch.setattr(archive, "_MOST_LISTED", 100 * 104)
  with pytest.raises(UserError, match=r"lists more than 100 files"):
    archive.opened(path)
