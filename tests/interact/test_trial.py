"""Trying photos: what the page of `protojax demo` gets of its server."""

import base64
import contextlib
import hashlib
import io
import json
import re
import threading

import numpy as np
from PIL import Image
import pytest

from protojax.interact import trial
from protojax.interact.server import Server
from protojax.interact.trial import Seen, Trial
from protojax.types import UserError
from tests.interact import interact_fakes as fakes

_PAGE = "<!doctype html><title>x</title><script>\n1 < 2;\n</script>"


def look(photo):
  """Says how bright a photo is."""
  (pixels,), (name,) = photo.pixels, photo.names
  said = f"brightness {pixels.mean():.0f}"
  row = {"prototype": 3, "group": "<b>dark</b>", "points": -0.5}
  return Seen(said, f"{_PAGE}<p>{len(name)}</p>", (row,))


def sent(value, name="a.png", size=(6, 4)):
  """A photo of one grey as the page sends it."""
  file = io.BytesIO()
  Image.new("RGB", size, (value,) * 3).save(file, "PNG")
  return {"name": name, "image": base64.b64encode(file.getvalue()).decode()}


@pytest.fixture
def session():
  return Trial(look, np.zeros((4, 4, 3), np.uint8))


@contextlib.contextmanager
def serving(session):
  given = session, "run", "127.0.0.1", 0, trial.MOST_SENT, session.documents
  with Server(*given) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def test_a_photo_is_looked_at_and_remembered(session):
  session.ready()
  assert session.photos(0) == {"photos": []}
  first, second = session.add(sent(10)), session.add(sent(200, "b" * 300))
  assert first.pop("seconds") >= 0
  assert first == {
    "number": 1, "name": "a.png", "size": [6, 4], "said": "brightness 10",
    "points": [{"prototype": 3, "group": "<b>dark</b>", "points": -0.5}],
  }  # fmt: skip
  assert second["name"] == "b" * 120
  assert [p["number"] for p in session.photos(2)["photos"]] == [2]
  assert Image.open(io.BytesIO(session.thumbnail(2))).size == (6, 4)
  assert session.report(1).startswith(_PAGE)
  with pytest.raises(UserError, match="no photo number 3"):
    session.report(3)


def test_the_first_photos_are_forgotten(session, monkeypatch):
  monkeypatch.setattr(trial, "KEPT", 2)
  for value in range(4):
    session.add(sent(value))
  assert [p["number"] for p in session.photos(0)["photos"]] == [3, 4]
  with pytest.raises(UserError, match="no photo number 2"):
    session.thumbnail(2)


@pytest.mark.parametrize(
  ("content", "said"),
  [
    ([], "what was sent"),
    ({"name": "a"}, 'send the "name" and the "image"'),
    ({"name": 3, "image": ""}, 'send the "name" and the "image"'),
    ({"name": "a", "image": "?"}, "a: what was sent is not base64"),
    ({"name": "a", "image": ""}, "a cannot be shown: not an image"),
    ({"name": " \n", "image": "YWJj"}, "photo cannot be shown: not an image"),
    (sent(0, size=(9, 6)), "a.png cannot be shown: 9 x 6 pixels are more than"),
  ],
)
def test_what_is_no_photo_is_refused_in_one_line(
  session, monkeypatch, content, said
):
  monkeypatch.setenv("PROTOJAX_MOST_PIXELS", "50")
  with pytest.raises(UserError, match=re.escape(said)) as refused:
    session.add(content)
  assert "\n" not in str(refused.value)
  assert session.photos(0) == {"photos": []}


def test_a_report_is_a_page_of_its_own_with_its_own_script(session):
  session.add(sent(1))
  with serving(session) as server:
    status, headers, content = fakes.ask(server, "report/1")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    digest = hashlib.sha256(b"\n1 < 2;\n").digest()
    policy = headers["Content-Security-Policy"]
    assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "connect" not in policy
    assert content.decode() == session.report(1)
    assert fakes.ask(server, "report/7")[0] == 400
    assert fakes.ask(server, "report/1", token="guess")[0] == 403
    page = fakes.ask(server)
    assert "frame-src 'self'" in page[1]["Content-Security-Policy"]


def test_photos_come_through_the_server_up_to_a_size(session, monkeypatch):
  monkeypatch.setattr(trial, "MOST_SENT", 100_000)
  noise = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8)
  with serving(session) as server:
    status, _, content = fakes.ask(server, "photo", sent(3))
    assert (status, json.loads(content)["said"]) == (200, "brightness 3")
    # More than an intervention may have.
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    large = base64.b64encode(file.getvalue()).decode()
    assert 65_536 < len(large) < 100_000
    assert fakes.ask(server, "photo", {"name": "a", "image": large})[0] == 200
    status, _, content = fakes.ask(server, "photo", b" " * 100_001)
    assert status == 413
    assert "at most 100000 bytes" in json.loads(content)["error"]
