"""CSV that spreadsheets open without running it."""

import csv
import io

import pytest

from protojax import csv_files


@pytest.mark.parametrize(
  "text",
  [
    "=1+1",
    '=HYPERLINK("http://x","y")',
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "-",
    "'=1",
    "''=1",
    "-1e5x",
    "--1",
    "+-1",
  ],
)
def test_no_text_is_a_formula(tmp_path, text):
  assert csv_files.text(text) == f"'{text}"
  assert csv_files.original(f"'{text}") == text
  path = tmp_path / "table.csv"
  with path.open("w", newline="") as file:
    writer = csv_files.Writer(file)
    writer.row(("name", text))
    writer.rows([("a", text)])
  table = csv_files.read(path)
  assert table.columns == ("name", text)
  assert [row for _, row in table.rows] == [{"name": "a", text: text}]
  with path.open(newline="") as file:
    assert [row[1][0] for row in csv.reader(file)] == ["'", "'"]


@pytest.mark.parametrize(
  "text",
  ["-0.5", "+3", "-1e-05", "-.5", "-3.", "-inf", "-nan", "a=1", "'", "it's"],
)
def test_numbers_and_other_texts_stay(text):
  assert csv_files.text(text) == text
  assert csv_files.original(text) == text


def test_numbers_of_python_stay():
  file = io.StringIO()
  csv_files.Writer(file, lineterminator="\n").row((-1, -0.5, None, True, "-1"))
  assert file.getvalue() == "-1,-0.5,,True,-1\n"
