"""The limits of the web server of `protojax.interact`: time, size, threads."""

import contextlib
import socket
import threading
import time

import pytest

from protojax.interact import server as server_lib
from tests.interact import interact_fakes as fakes


@pytest.fixture(scope="module")
def server(tmp_path_factory):
  path = tmp_path_factory.mktemp("run") / "interventions.json"
  with fakes.serving(fakes.session(path)) as running:
    yield running


def _raw(server, head, body=b"", wait=0.0):
  """The answer to lines of a request, sent byte by byte if it has to wait."""
  text = "\r\n".join(head).replace("TOKEN", server.token).encode()
  content = text + b"\r\n\r\n" + body
  with socket.create_connection(server.server_address[:2], 300) as link:
    pieces = [content[i : i + 1] for i in range(len(content))]
    for piece in pieces if wait else [content]:
      try:
        link.sendall(piece)
      except ConnectionError:
        break
      time.sleep(wait)
    found = b""
    with contextlib.suppress(ConnectionError):
      while more := link.recv(4096):
        found += more
  return found


_POST = [
  "POST /TOKEN/intervene HTTP/1.1",
  "Host: localhost",
  "Content-Type: application/json",
]


@pytest.mark.parametrize(
  ("status", "head", "body"),
  [
    (400, ["GET /TOKEN/images/0 HTTP/1.1", "Host: localhost", "Host: x"], b""),
    (400, ["GET /TOKEN/images/0 HTTP/1.1", "Host: a", "host: localhost"], b""),
    (403, ["GET /TOKEN/images/0 HTTP/1.1"], b""),
    (400, ["GET /TOKEN/images/0 HTTP/1.1", "Host : evil.example"], b""),
    (
      400,
      ["GET /TOKEN/images/0 HTTP/1.1", "Host: localhost", "Content-Length: 9"],
      b"GET / HTTP/1.1",
    ),
    (411, _POST, b""),
    (400, [*_POST, "Content-Length: 2", "Content-Length: 2"], b"{}"),
    (400, [*_POST, "Content-Length: 2", "content-length: 40"], b"{}"),
    (411, [*_POST, "Content-Length: 2, 2"], b"{}"),
    (411, [*_POST, "Content-Length: +2"], b"{}"),
    (501, [*_POST, "Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n"),
    (
      501,
      [*_POST, "Content-Length: 2", "Transfer-Encoding: identity"],
      b"2\r\n{}\r\n0\r\n\r\n",
    ),
  ],
)
def test_what_two_servers_read_differently_is_refused(
  server, status, head, body
):
  found = _raw(server, head, body)
  assert found.startswith(b"HTTP/1.1 %d " % status)
  # The rest is not taken for a second request.
  assert found.count(b"HTTP/1.1") == 1
  assert b"Connection: close" in found


@pytest.mark.parametrize("waits", ["head", "body", "answer", "silent"])
def test_nobody_holds_a_thread_by_being_slow(server, monkeypatch, waits):
  monkeypatch.setattr(server_lib, "_REQUEST_SECONDS", 0.3)
  get = ["GET /TOKEN/images/0 HTTP/1.1", "Host: localhost"]
  if waits == "head":
    found = _raw(server, get, wait=0.05)
  elif waits == "body":
    found = _raw(server, [*_POST, "Content-Length: 60000"], b"{")
  elif waits == "silent":
    with socket.create_connection(server.server_address[:2], 300) as link:
      found = link.recv(1)
  else:
    # Larger than what the system holds for a reader that does not read.
    large = server_lib.Content("image/jpeg", bytes(50_000_000))
    monkeypatch.setitem(server.gets, "picture", lambda _: large)
    with socket.create_connection(server.server_address[:2], 300) as link:
      path = f"/{server.token}/picture/0"
      link.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
      _wait(lambda: _threads() == 0)
      found = b""
  assert b"200 OK" not in found
  _wait(lambda: _threads() == 0)
  # An honest request may take longer than that on a busy machine.
  monkeypatch.undo()
  assert fakes.ask(server, "images/0")[0] == 200


def test_there_are_only_so_many_threads(server, monkeypatch):
  with contextlib.ExitStack() as links:
    for _ in range(server_lib.MOST_CONNECTIONS):
      link = socket.create_connection(server.server_address[:2], 300)
      links.enter_context(link)
    _wait(lambda: _threads() == server_lib.MOST_CONNECTIONS)
    assert fakes.ask(server, "images/0")[0] == 503
    assert _threads() == server_lib.MOST_CONNECTIONS
  _wait(lambda: _threads() == 0)
  assert fakes.ask(server, "images/0")[0] == 200


def _threads():
  """Threads that serve connections."""
  names = [thread.name for thread in threading.enumerate()]
  return sum("process_request_thread" in name for name in names)


def _wait(until):
  end = time.monotonic() + 300
  while not until():
    assert time.monotonic() < end
    time.sleep(0.01)
