"""Evidence as JSON documents: round trips, the schema, and what is refused."""

import base64
import copy
import dataclasses
import itertools
import json
import re

import jsonschema
import numpy as np
import pytest

from protojax.explain import blocks, documents
from protojax.explain.evidence import ExplainedRun, Redundancy
from protojax.explain.redundancy import Group
from protojax.types import UserError
from tests.explain import block_fakes
from tests.report import inspection_fakes, report_fakes


@pytest.fixture(scope="module")
def validator():
  schema = json.loads(documents.SCHEMA_FILE.read_text("utf-8"))
  jsonschema.Draft202012Validator.check_schema(schema)
  return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def every_kind():
  """kind -> evidence of it."""
  prototypes, images, overviews = report_fakes.run(classes=1)
  redundancy = Redundancy(
    (Group("near", (0, 2), 0.1, float("nan"), 0.2),), 0.9, 0.8
  )
  return {
    "run": ExplainedRun("run", "0.1", {"after_push": 0.9}, {"hue": "hue 0.1"}),
    "image": images[1],
    "prototype": prototypes[report_fakes.DUPLICATE],
    "overview": dataclasses.replace(
      overviews["train"],
      without_own=overviews["train"].scores,
      redundancy=redundancy,
      alerts=("Something is odd.",),
    ),
    "inspection": inspection_fakes.inspections(1)[0],
    "explanation": block_fakes.explanation(),
  }


_KINDS = ("run", "image", "prototype", "overview", "inspection", "explanation")


def _same(found, expected):
  """Whether two values are the same in types, arrays and unknown numbers."""
  if isinstance(expected, np.ndarray):
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
  elif dataclasses.is_dataclass(expected):
    assert type(found) is type(expected)
    for field in dataclasses.fields(expected):
      _same(getattr(found, field.name), getattr(expected, field.name))
  elif isinstance(expected, dict):
    assert list(found) == list(expected)
    for name, value in expected.items():
      _same(found[name], value)
  elif isinstance(expected, tuple):
    assert type(found) is type(expected)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
      _same(one, other)
  elif isinstance(expected, float) and np.isnan(expected):
    # The cells of a table have no types: there, nan is an empty cell.
    assert found is None or np.isnan(found)
  else:
    assert type(found) is type(expected)
    assert found == expected


def _without_pixels(e):
  """Evidence as a document holds it: numbers, no pictures."""
  if not dataclasses.is_dataclass(e) or isinstance(e, blocks.Explanation):
    return e
  gone = ("picture", "heat", "piece", "crop", "all_scores", "anomaly_map")
  gone += ("assignment", "truth")
  changes = {}
  for field in dataclasses.fields(e):
    value = getattr(e, field.name)
    if field.name in gone:
      changes[field.name] = None
    elif field.name == "pictures":
      changes[field.name] = {}
    elif isinstance(value, dict):
      changes[field.name] = {k: _deep(v) for k, v in value.items()}
    else:
      changes[field.name] = _deep(value)
  return dataclasses.replace(e, **changes)


def _deep(value):
  if type(value) is tuple:
    return tuple(map(_deep, value))
  return _without_pixels(value)


@pytest.mark.parametrize("kind", _KINDS)
def test_evidence_comes_back_from_its_document(kind, every_kind, validator):
  e = every_kind[kind]
  text = json.dumps(documents.to_json(e), allow_nan=False)
  document = json.loads(text)
  assert document["schema"] == documents.SCHEMA
  assert document["kind"] == kind
  validator.validate(document)
  found = documents.from_json(document)
  _same(found, _without_pixels(e))
  assert documents.to_json(found) == document


@pytest.mark.parametrize(
  "block", block_fakes.every_block(), ids=lambda block: type(block).__name__
)
def test_a_block_comes_back_from_its_document(block, validator):
  e = block_fakes.explanation(blocks=(block,))
  document = json.loads(json.dumps(documents.to_json(e), allow_nan=False))
  validator.validate(document)
  (found,) = documents.from_json(document).blocks
  _same(found, block)


@pytest.mark.parametrize(
  "block",
  [
    blocks.Matrix((), ("a", "b"), np.zeros((0, 2))),
    blocks.Matrix(("a",), (), np.zeros((1, 0))),
    blocks.Table(("a",), ()),
    blocks.Curve((), blocks.Axis("x"), blocks.Axis("y")),
    blocks.Gallery(()),
    blocks.Sentence("\udcff \u2028 </script>"),
  ],
)
def test_what_is_empty_or_odd_comes_back(block, validator):
  e = block_fakes.explanation(blocks=(block,))
  document = json.loads(json.dumps(documents.to_json(e)))
  validator.validate(document)
  _same(documents.from_json(document).blocks[0], block)


def test_other_programs_read_the_numbers_of_a_map():
  values = np.array([[np.nan, -1.0], [0.5, np.inf]], np.float32)
  e = block_fakes.explanation(blocks=(blocks.Map(values, 0.0, 1.0),))
  found = documents.to_json(e)["blocks"][0]["values"]
  assert found["shape"] == [2, 2]
  # Worked out by hand: 0.5 is 0x3f000000, its lowest byte first.
  assert found["float32"] == "AADAfwAAgL8AAAA/AACAfw=="


def test_the_schema_is_that_of_the_code():
  shipped = json.loads(documents.SCHEMA_FILE.read_text("utf-8"))
  assert shipped == documents.schema(), (
    "write documents.schema() to documents.SCHEMA_FILE with json.dumps(...,"
    " indent=1)"
  )


# Mappings whose keys are names: of modifications, splits, figures and notes.
_FREE = {
  (name,)
  for name in (
    *("because", "scores", "intervals", "relative", "distance", "local"),
    *("accuracy", "strengths", "notes", "without_source", "nearest"),
  )
}


def _parts(document, path=()):
  """Paths of all values within a document, of one in each list and mapping."""
  yield path
  if isinstance(document, dict):
    inner = list(document.items())
    inner = inner[:1] if path[-1:] in _FREE else inner
  else:
    inner = list(enumerate(document))[:1] if isinstance(document, list) else []
  for key, value in inner:
    yield from _parts(value, (*path, key))


def _changed(document, path, change):
  """A copy with one part changed; `change` gets what holds it, and its key."""
  changed = copy.deepcopy(document)
  part = changed
  for key in path[:-1]:
    part = part[key]
  change(part, path[-1])
  return changed


def _refused(document, validator):
  with pytest.raises(UserError) as error:
    documents.from_json(document)
  assert "\n" not in str(error.value)
  assert not validator.is_valid(document)


def _set(value):
  return lambda part, key: part.__setitem__(key, value)


def _documents(e):
  """Its document; one with each of its blocks, if it has blocks."""
  document = documents.to_json(e)
  for block in document.get("blocks", [None]):
    yield document if block is None else {**document, "blocks": [block]}


@pytest.mark.parametrize("kind", _KINDS)
def test_wrong_documents_are_refused(kind, every_kind, validator):
  for document in _documents(every_kind[kind]):
    if kind == "overview":  # its histograms are long
      document["local"] = {"hue": {"edges": [0.0, 1.0], "counts": [9]}}
    _refused({**document, "more": 1}, validator)
    for path in _parts(document):
      if path:
        _refused(_changed(document, path, _set(object)), validator)
      if path and isinstance(path[-1], str) and path[-2:-1] not in _FREE:
        gone = _changed(document, path, lambda part, key: part.pop(key))
        _refused(gone, validator)


@pytest.mark.parametrize(
  ("path", "value", "said"),
  [
    (("schema",), "protojax-evidence/2", "reads protojax-evidence/1"),
    (("kind",), "poem", "kind is 'poem'; expected one of run, image"),
    (("scope",), "cosmic", "scope is 'cosmic'; expected one of local"),
    (("key",), "../up", "the key '../up'"),
    (("blocks", 0, "kind"), "song", "blocks[0].kind is 'song'"),
    (("blocks", 0, "text"), 3, "blocks[0].text is 3; expected a text"),
    (("blocks", 1, "boxes", 0, "box"), [1, 2, 3], "expected a list of 4"),
    (("blocks", 1, "boxes", 0, "box", 1), 1.5, "expected a whole number"),
    (("blocks", 1, "boxes", 0, "box", 1), True, "expected a whole number"),
    (("blocks", 4, "rows", 0), ["a"], "a row of 1 cells in a table of 3"),
    (("blocks", 1, "image"), "abc", "the base64 of a PNG file"),
    (("blocks", 1, "image"), "AAAA", "the base64 of a PNG file"),
    (("blocks", 2, "values", "float32"), "AAAA", "blocks[2].values is {"),
    (("blocks", 2, "values", "shape"), [-1, -12], "blocks[2].values is {"),
    (("blocks", 2, "high"), None, "a map's scale goes from 0.0 to nan"),
    (("blocks", 5, "series", 0, "x"), [1], "has 1 x and 40 y"),
    (("blocks", 6, "values"), [[1, 2, 3]], "a matrix of shape (1, 3)"),
    (("blocks", 6, "values"), [[1], [1, 2]], "rows of one length"),
    (("blocks", 8, "level"), "shout", "one of note, warning"),
  ],
)
def test_a_refusal_says_where_and_what(path, value, said, every_kind):
  document = documents.to_json(every_kind["explanation"])
  with pytest.raises(UserError, match=re.escape(said)) as error:
    documents.from_json(_changed(document, path, _set(value)))
  assert "\n" not in str(error.value)


def test_a_damaged_picture_is_refused(every_kind):
  document = documents.to_json(every_kind["explanation"])
  whole = base64.b64decode(document["blocks"][1]["image"])
  refused = []
  # The heads of the file and of its first chunks, each bit of them.
  for at, bit in itertools.product(range(50), range(8)):
    damaged = bytearray(whole)
    damaged[at] ^= 1 << bit
    text = base64.b64encode(damaged).decode()
    try:  # A bit that nobody needs may change.
      documents.from_json(
        _changed(document, ("blocks", 1, "image"), _set(text))
      )
    except UserError as error:
      refused.append(str(error))
  assert len(refused) > 300
  assert all("expected the base64 of a PNG file" in x for x in refused)


@pytest.mark.parametrize("document", [None, 3, [], "text", {}])
def test_what_is_no_document_is_refused(document, validator):
  _refused(document, validator)


def test_a_file_is_read_line_by_line(every_kind, tmp_path):
  path = tmp_path / "e.jsonl"
  lines = [json.dumps(documents.to_json(e)) for e in every_kind.values()]
  path.write_text("\n".join([*lines, "{"]))
  found = documents.read(path)
  for e in every_kind.values():
    assert type(next(found)) is type(e)
  with pytest.raises(UserError, match=r"e\.jsonl, line 7 is not valid JSON"):
    next(found)
  with pytest.raises(UserError, match=r"none\.jsonl cannot be read"):
    list(documents.read(tmp_path / "none.jsonl"))


def test_makers_mistakes_are_told():
  picture = block_fakes.picture()
  with pytest.raises(ValueError, match="scale goes from"):
    blocks.Map(np.zeros((2, 2), np.float32), 1.0, 1.0, over=picture)
  with pytest.raises(ValueError, match="scope 'all'"):
    blocks.Explanation("a", "A", "all")
  with pytest.raises(ValueError, match="key 'a b'"):
    blocks.Explanation("a b", "A", "local")


def test_a_mapping_becomes_a_table():
  found = blocks.pairs({"a": 1, "b": "x"}, ("name", "value"), "All")
  assert found == blocks.Table(("name", "value"), (("a", 1), ("b", "x")), "All")
