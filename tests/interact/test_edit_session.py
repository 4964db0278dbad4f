"""The page of edits, asked as a browser and others ask."""

import io
import json
import re

import numpy as np
from numpy.testing import assert_allclose
from PIL import Image
import pytest

from protojax.interact import server as server_lib
from protojax.types import UserError
from tests.interact import edit_fakes, interact_fakes

_GONE = {"edit": "remove", "prototypes": [0], "reason": "confounded"}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
  found = edit_fakes.session(tmp_path_factory.mktemp("edited"))
  found.ready()
  return found


@pytest.fixture(scope="module")
def server(session):
  with interact_fakes.serving(session) as running:
    yield running


def _post(server, path, body):
  status, _, content = interact_fakes.ask(server, path, body)
  found = json.loads(content)
  assert status == 200, found
  return found


def test_the_page_needs_nothing_from_elsewhere(server):
  status, headers, content = interact_fakes.ask(server)
  text = content.decode()
  assert status == 200
  policy = headers["Content-Security-Policy"]
  nonce = re.search("'nonce-([^']+)'", policy).group(1)
  assert re.findall("<script[^>]*>", text) == [f'<script nonce="{nonce}">']
  assert not re.search(r"(?:src|href)=\"(?!#|data:)", text)
  assert "http:" not in text
  assert "https:" not in text
  assert "<b>cold" not in text


@pytest.mark.parametrize(
  ("status", "path", "options"),
  [
    (403, "", {"token": ""}),
    (403, "edit", {"token": "guess", "body": {"edits": []}}),
    (403, "save", {"body": {"edits": []}, "Host": "evil.example:8642"}),
    (404, "images/0", {}),
    (404, "intervene", {"body": {"image": 0}}),
    (404, "atlas/../../etc/passwd", {}),
    (404, "save", {}),
    (200, "place/0", {}),
    (200, "place/99", {}),
    (400, "atlas/4", {}),
    (400, "thumbnail/6", {}),
    (415, "edit", {"body": {"edits": []}, "Content-Type": "text/plain"}),
    (413, "save", {"body": b" " * (server_lib.MOST_BYTES + 1)}),
    (400, "edit", {"body": []}),
    (400, "edit", {"body": {}}),
    (400, "edit", {"body": {"edits": [_GONE, _GONE]}}),
    (400, "edit", {"body": {"edits": [], "folder": "/tmp/x"}}),
    (400, "edit", {"body": {"edits": [_GONE], "model": "0123"}}),
    (400, "edit", {"body": {"edits": [], "author": 3}}),
    (400, "edit", {"body": {"edits": [], "nearly": 1}}),
    (400, "save", {"body": {"edits": [_GONE], "nearly": True}}),
    (400, "save", {"body": {"edits": []}}),
    (400, "save", {"body": {"edits": [{**_GONE, "prototypes": [9]}]}}),
  ],
)
def test_who_may_ask_what(server, session, status, path, options):
  found, _, content = interact_fakes.ask(server, path, **options)
  assert found == status
  if status != 200:
    assert set(json.loads(content)) == {"error"}
  assert not session.saved


def test_pictures_are_those_of_the_prototypes_and_images(server):
  for path, size in (("atlas/2", (40, 20)), ("thumbnail/1", (40, 20))):
    status, headers, content = interact_fakes.ask(server, path)
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(content)).size == size
  status, _, content = interact_fakes.ask(server, "place/0")
  assert status == 200
  assert json.loads(content)["place"]["image"] == "<i>0</i>.png"


def test_an_edit_is_answered_and_undone(server, session):
  nothing = _post(server, "edit", {"edits": []})
  assert nothing["changes"] == 0
  assert nothing["accuracy"]["before"] == nothing["accuracy"]["now"]
  assert nothing["weights"] == [4, 1, 3, 2]
  found = _post(server, "edit", {"edits": [_GONE]})
  # By hand: the weights of those that are left are doubled.
  scores = session.editor._scores
  left = 2 * edit_fakes.WEIGHT * [0, 1, 1, 1]
  before = np.argmax(scores @ edit_fakes.WEIGHT.T, 1)
  now = np.argmax(scores @ left.T, 1)
  labels = session.editor.judged.source.labels
  assert_allclose(found["accuracy"]["before"], np.mean(before == labels))
  assert_allclose(found["accuracy"]["now"], np.mean(now == labels))
  assert found["changes"] == np.sum(before != now) > 0
  assert [one["number"] for one in found["changed"]] == (
    np.flatnonzero(before != now).tolist()
  )
  assert found["alive"] == {"before": 4, "now": 3}
  assert found["weights"] == [0, 2, 6, 4]
  assert found["classes"][0]["images"] == 3
  asked = session.editor.edits.asked
  # Words do not change an answer, and are no reason to search again.
  assert (
    _post(server, "edit", {"edits": [{**_GONE, "words": "a tag"}]})["changes"]
    == found["changes"]
  )
  assert session.editor.edits.asked == asked
  again = _post(server, "edit", {"edits": []})
  assert {**again, "seconds": 0} == {**nothing, "seconds": 0}


def test_an_edit_is_answered_sooner_by_a_head_that_is_near(server):
  soon = _post(server, "edit", {"edits": [_GONE], "nearly": True})
  assert soon["weights"] == [0, 1, 3, 2]
  assert soon["left"] == 0.5
  found = _post(server, "edit", {"edits": [_GONE], "nearly": False})
  assert found["weights"] == [0, 2, 6, 4]
  assert found["left"] == 0
  nothing = _post(server, "edit", {"edits": [], "nearly": True})
  assert nothing["left"] == 0


def test_a_classifier_that_came_trained_shows_the_agreement(tmp_path):
  session = edit_fakes.session(tmp_path, solves=False, train=False)
  # It needs no training images.
  session.ready()
  found = session.edit({"edits": [_GONE]})
  assert found["agreement"]["before"] == 1
  assert found["agreement"]["now"] < 1
  assert session.facts()["solves"] is False


def test_training_images_are_needed_to_solve_anew(tmp_path):
  session = edit_fakes.session(tmp_path, train=False)
  with pytest.raises(UserError, match="/gone does not exist"):
    session.ready()


def test_the_list_of_changed_images_ends(tmp_path, monkeypatch):
  monkeypatch.setattr("protojax.interact.edit_session._MOST_CHANGED", 1)
  found = edit_fakes.session(tmp_path).edit({"edits": [_GONE]})
  assert len(found["changed"]) == 1 < found["changes"]


def test_folders_of_saved_runs_are_new_ones(tmp_path):
  session = edit_fakes.session(tmp_path / "run")
  assert session._next_folder() == tmp_path / "run-edited"
  (tmp_path / "run-edited").mkdir()
  assert session._next_folder() == tmp_path / "run-edited-2"
  session.save_as = str(tmp_path / "mine")
  assert session._next_folder() == tmp_path / "mine"
  (tmp_path / "mine").mkdir()
  assert session._next_folder() == tmp_path / "mine-2"
