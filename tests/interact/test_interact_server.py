"""The web server of `protojax.interact`, asked as a browser and others ask."""

import io
import json
import re
import socket
import threading

import numpy as np
from numpy.testing import assert_allclose
from PIL import Image
import pytest

from protojax.__main__ import main
from protojax.interact import saved
from protojax.interact import server as server_lib
from protojax.interact.server import Server
from protojax.types import UserError
from tests.interact import interact_fakes as fakes

_LEFT = {"top": 0, "left": 0, "bottom": 20, "right": 20}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
  return fakes.session(tmp_path_factory.mktemp("run") / "interventions.json")


@pytest.fixture(scope="module")
def server(session):
  with fakes.serving(session) as running:
    yield running


def _json(server, path, body=None):
  status, _, content = fakes.ask(server, path, body)
  found = json.loads(content)
  assert status == 200, found
  return found


def test_the_page_needs_nothing_from_elsewhere(server):
  status, headers, content = fakes.ask(server)
  text = content.decode()
  assert status == 200
  assert headers["Content-Type"] == "text/html; charset=utf-8"
  assert headers["Cache-Control"] == "no-store"
  policy = headers["Content-Security-Policy"]
  assert "default-src 'none'" in policy
  nonce = re.search("'nonce-([^']+)'", policy).group(1)
  assert re.findall("<script[^>]*>", text) == [f'<script nonce="{nonce}">']
  assert not re.search(r"(?:src|href)=\"(?!#|data:)", text)
  assert "http:" not in text
  assert "https:" not in text
  # Names of others are no markup.
  assert "run &lt;/script&gt;" in text
  assert text.count("</script>") == 1
  assert "<b>cold" not in text
  assert fakes.ask(server)[1]["Content-Security-Policy"] != policy


@pytest.mark.parametrize(
  ("status", "path", "options"),
  [
    (403, "", {"token": ""}),
    (403, "images/0", {"token": "guess"}),
    (403, "images/0", {"token": "guess", "body": {}}),
    (403, "", {"Host": "evil.example"}),
    (403, "save", {"body": {"image": 0}, "Host": "evil.example:8642"}),
    (403, "", {"Host": "localhost.evil.example"}),
    (200, "images/0", {"Host": "localhost:9000"}),
    (200, "images/0", {"Host": "[::1]:9000"}),
    (200, "images/0", {"Host": "192.168.0.7"}),
    (404, "picture", {}),
    (404, "picture/../../etc/passwd", {}),
    (404, "picture/%2e%2e%2fetc", {}),
    (404, "picture/-1", {}),
    (404, "picture/0/1", {}),
    (404, "picture/" + 30 * "9", {}),
    (404, "save", {}),
    (404, "page.css", {}),
    (404, "images/0", {"body": {}}),
    (400, "picture/6", {}),
    (400, "image/6", {}),
    (400, "atlas/2", {}),
    (415, "save", {"body": {"image": 0}, "Content-Type": "text/plain"}),
    (
      415,
      "save",
      {"body": b"a=b", "Content-Type": "application/x-www-form-urlencoded"},
    ),
    (413, "save", {"body": b" " * (server_lib.MOST_BYTES + 1)}),
    (413, "save", {"body": b"", "Content-Length": 40 * "9"}),
    (411, "save", {"body": b"", "Content-Length": "-1"}),
    (400, "save", {"body": b"{"}),
    (400, "save", {"body": b"\xff\xfe"}),
    (400, "save", {"body": b"[" * 60_000}),
    (400, "save", {"body": []}),
    (400, "save", {"body": {}}),
    (400, "save", {"body": {"image": True}}),
    (400, "save", {"body": {"image": -1}}),
    (400, "save", {"body": {"image": "../x"}}),
    (400, "intervene", {"body": {"image": 0, "alpha": 9}}),
    (400, "intervene", {"body": {"image": 0, "lok": []}}),
  ],
)
def test_who_may_ask_what(server, session, status, path, options):
  found, headers, content = fakes.ask(server, path, **options)
  assert found == status
  assert headers["X-Content-Type-Options"] == "nosniff"
  assert "Access-Control-Allow-Origin" not in headers
  if status != 200:
    assert set(json.loads(content)) == {"error"}
    assert headers["Content-Type"] == "application/json"
  assert not session.path.exists()


def test_pictures_are_those_of_the_source(server, session):
  for path in ("picture/2", "atlas/1"):
    status, headers, content = fakes.ask(server, path)
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(content)).size == (40, 20)
  picture = np.asarray(
    Image.open(io.BytesIO(fakes.ask(server, "picture/2")[2]))
  )
  assert np.abs(picture - session.source.images[2].astype(float)).mean() < 8


def test_large_pictures_are_made_smaller(tmp_path):
  session = fakes.session(tmp_path / "saved.json")
  session.source.images = [np.zeros((100, 3200, 3), np.uint8)]
  for content, size in (
    (session.picture(0), (1600, 50)),
    (session.thumbnail(0), (96, 3)),
  ):
    assert Image.open(io.BytesIO(content)).size == size


def test_the_list_fills(tmp_path):
  session = fakes.session(tmp_path / "saved.json")
  stop = threading.Event()
  with fakes.serving(session) as server:
    assert _json(server, "images/0") == {"total": 6, "rows": []}
    session.predict_all(stop)
    rows = _json(server, "images/0")["rows"]
    assert _json(server, "images/4")["rows"] == rows[4:]
  for i, row in enumerate(rows):
    shares = fakes.naive(session.source.images[i])
    assert row["name"] == session.source.name(i)
    assert row["class"] == fakes.CLASSES[shares.argmax()]
    assert row["label"] == fakes.CLASSES[session.source.labels[i]]
    assert_allclose(row["probability"], shares.max(), rtol=1e-5)
    assert_allclose(row["margin"], np.ptp(shares), rtol=1e-4)
    assert not row["saved"]
  stop.set()
  session.predict_all(stop)
  assert session.images(0)["rows"] == rows


def test_an_image_that_went_away_is_said(tmp_path, monkeypatch):
  session = fakes.session(tmp_path / "saved.json")

  def read(self, i, whole=fakes.Source.__getitem__):
    if i == 1:
      raise UserError("1.png is not readable now")
    return whole(self, i)

  monkeypatch.setattr(fakes.Source, "__getitem__", read)
  session.predict_all(threading.Event())
  rows = session.images(0)["rows"]
  assert [("error" in row) for row in rows] == [i == 1 for i in range(6)]


def test_an_answer_is_that_of_the_function(server, session):
  found = _json(server, "image/1")
  assert (found["height"], found["width"]) == (20, 40)
  assert found["saved"] is None
  image = fakes.Source().images[1]
  before, after = fakes.naive(image), fakes.naive(image, [(0, 0, 20, 20)])
  assert_allclose(found["answer"]["probabilities"], before, rtol=1e-5)
  body = {"image": 1, "look": [_LEFT], "ignore": [], "rejected": []}
  answer = _json(server, "intervene", body)
  assert_allclose(answer["probabilities"], after, rtol=1e-5)
  red, blue = answer["concepts"]
  assert np.shape(red["map"]) == fakes.GRID
  assert_allclose(np.max(blue["map"]), blue["score"], atol=1e-4)
  assert_allclose(red["contribution"], 4 * red["score"], rtol=1e-5)
  corner = {"top": 0.75, "left": 0.75, "bottom": 1.0, "right": 1.0}
  assert blue["prototype"] == 1
  assert blue["place"] == {"image": session.source.name(5), **corner}


def test_what_is_saved_is_there_again(tmp_path, monkeypatch, capsys):
  path = tmp_path / "run" / "interventions.json"
  said = {"look": [], "ignore": [_LEFT], "rejected": ['bl"ue'], "alpha": 0.25}
  session = fakes.session(path)
  with fakes.serving(session) as server:
    done = _json(server, "save", {"image": 1, **said})
    assert done == {"saved": True, "count": 1}
    done = _json(server, "save", {"image": 3, "rejected": ["red"]})
    assert done == {"saved": True, "count": 2}
    # One that changes nothing is none.
    done = _json(server, "save", {"image": 3, "alpha": 0.1})
    assert done == {"saved": False, "count": 1}
    # Somebody else works on the same run.
    fakes.session(path).save({"image": 4, "rejected": ["red"]})
    done = _json(server, "save", {"image": 5, "rejected": ["red"]})
    assert done == {"saved": True, "count": 3}
    for index in (4, 5):
      _json(server, "save", {"image": index})
  (kept,) = saved.read(path)
  assert kept["image"] == session.source.name(1)
  assert kept["before"]["class"] == "warm"
  with fakes.serving(fakes.session(path)) as server:
    assert _json(server, "image/1")["saved"] == said
    assert _json(server, "image/3")["saved"] is None
  # And it is what --boxes reads.
  fakes.run(tmp_path / "run", monkeypatch)
  argv = [f"--workdir={tmp_path / 'run'}", f"--boxes={path}", "--format=json"]
  assert main(["interact", *argv]) == 0
  assert json.loads(capsys.readouterr().out) == {"interventions": [kept]}


def test_what_was_saved_of_another_model_is_named(tmp_path):
  path = tmp_path / "interventions.json"
  one = {"image": fakes.Source().name(0), "rejected": ["green"]}
  gone = {"image": "gone.png", "look": [_LEFT]}
  saved.write(path, [one, gone])
  session = fakes.session(path)
  found = session.opened(0)
  assert found["saved"] is None
  assert "no concept 'green'" in found["error"]
  session.save({"image": 2, "rejected": ["red"]})
  assert saved.read(path)[:2] == [one, gone]
  path.write_text("{}")
  with pytest.raises(UserError, match="must have"):
    fakes.session(path)


def test_what_cannot_be_written_is_said(tmp_path, monkeypatch):
  session = fakes.session(tmp_path / "saved.json")
  (tmp_path / "saved.json").write_text("")
  monkeypatch.setattr(session, "path", tmp_path / "saved.json" / "x")
  with fakes.serving(session) as server:
    body = {"image": 0, "rejected": ["red"]}
    status, _, content = fakes.ask(server, "save", body)
  assert status == 400
  assert "could not be written" in json.loads(content)["error"]
  assert session.saved_count == 0


def test_the_atlas_may_be_gone_or_changed(tmp_path):
  gone = fakes.session(tmp_path / "saved.json", fakes.Method(train=False))
  assert gone.facts()["atlas"] == "/gone does not exist"
  method = fakes.Method()
  changed = fakes.session(tmp_path / "saved.json", method)
  method.source.images[0] = 255
  assert not changed.facts()["atlas"]
  for session, missing in ((gone, [0, 1]), (changed, [0])):
    concepts = session.opened(2)["answer"]["concepts"]
    places = [concept["place"] for concept in concepts]
    assert [c for c in (0, 1) if places[c] is None] == missing
    with pytest.raises(UserError, match="nothing to show"):
      session.atlas(0)


def test_a_mistake_of_ours_ends_one_answer_alone(tmp_path, monkeypatch):
  session, seen = fakes.session(tmp_path / "saved.json"), []
  monkeypatch.setattr(
    server_lib.logging, "exception", lambda *words: seen.append(words)
  )
  monkeypatch.setattr(session, "facts", lambda: 1 / 0)
  with fakes.serving(session) as server:
    status, _, content = fakes.ask(server)
    assert status == 500
    assert "ivision" not in content.decode()
    assert len(seen) == 1
    assert fakes.ask(server, "images/0")[0] == 200


def test_a_browser_that_hangs_up(server, capfd):
  request = (
    f"POST /{server.token}/save HTTP/1.1\r\nHost: localhost\r\n"
    "Content-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
  )
  with socket.create_connection(server.server_address[:2]) as link:
    link.sendall(request.encode())
  assert fakes.ask(server, "images/0")[0] == 200
  assert capfd.readouterr().err == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_ctrl_c_is_the_end(tmp_path, monkeypatch, capsys, host):
  fakes.run(tmp_path / "run", monkeypatch)
  seen = []

  def interrupted(self):
    seen.append(self.address)
    raise KeyboardInterrupt

  monkeypatch.setattr(Server, "serve_forever", interrupted)
  argv = [f"--workdir={tmp_path / 'run'}", f"--host={host}", "--port=0"]
  assert main(["interact", *argv]) == 0
  out, err = capsys.readouterr()
  (address,) = seen
  assert out == f"open {address} (Ctrl-C ends)\n"
  assert ("other machines can reach" in err) == (host == "0.0.0.0")
  assert ("127.0.0.1" in address) == (host == "127.0.0.1")
  assert err.endswith(
    f"0 interventions saved in {tmp_path / 'run' / 'interventions.json'}\n"
  )


def test_a_port_in_use_is_one_line(server, tmp_path, monkeypatch, capsys):
  fakes.run(tmp_path / "run", monkeypatch)
  port = server.server_address[1]
  argv = [f"--workdir={tmp_path / 'run'}", f"--port={port}"]
  assert main(["interact", *argv]) == 2
  err = capsys.readouterr().err
  assert err.startswith(f"error: cannot listen on 127.0.0.1, port {port}: addr")
  assert err.count("\n") == 1
