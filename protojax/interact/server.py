"""The page's web server, for one person; that of the standard library.

Every request must have a random token, which is in the address printed at the
start; other pages in the same browser and other users of the machine do not
know it. The Host header must be an IP address or this machine's own name, so
that no foreign name can point here (DNS rebinding). A request that changes
something must be JSON, which a form of another page cannot send. No path of a
request is ever opened: routes are looked up in tables, images by number.

A request has a limited size and, as a whole, a limited time, so that nobody
holds a thread by sending slowly; there is a limited number of threads. What two
servers could understand differently is refused: two Host headers, two lengths,
a body in chunks.
"""

from collections.abc import Callable, Mapping
import contextlib
import http
from http import server
import io
import ipaddress
import secrets
import socket
import socketserver
import sys
import threading
import time
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from absl import logging

from protojax import json_files
from protojax.interact import responses, view
from protojax.interact.responses import Content
from protojax.types import UserError

# Most bytes of a request, unless more are asked for; the largest intervention
# has a hundredth of them.
MOST_BYTES = 1 << 16
# Seconds after which a silent connection is closed, and within which a request
# must be here as a whole, and the response be taken.
_PATIENCE = 30.0
_REQUEST_SECONDS = 10.0
# Connections at a time, each with a thread. A browser opens six.
MOST_CONNECTIONS = 32
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@runtime_checkable
class Session(Protocol):
  """One person's work, which a page shows.

  Attributes:
    template: file of the page.
    tables: name -> (number in the path) -> JSON.
    pictures: name -> (number in the path) -> JPEG.
    posts: name -> (JSON that was sent) -> JSON.
  """

  template: str
  tables: Mapping[str, Callable[[int], Any]]
  pictures: Mapping[str, Callable[[int], bytes]]
  posts: Mapping[str, Callable[[Any], Any]]

  def facts(self) -> Mapping[str, Any]:
    """The values that do not change while the page is open."""
    ...


class _Refused(Exception):
  """A request that is refused, with the status of the response."""

  def __init__(self, status: http.HTTPStatus, reason: str) -> None:
    super().__init__(reason)
    self.status = status


class Server(server.ThreadingHTTPServer):
  """Serves one session until it is shut down.

  Attributes:
    token: every path begins with it.
  """

  daemon_threads = True

  def __init__(
    self,
    session: Session,
    title: str,
    host: str,
    port: int,
    most_bytes: int = MOST_BYTES,
    documents: Mapping[str, Callable[[int], str]] = MappingProxyType({}),
  ) -> None:
    """Starts to listen.

    Args:
      session: has the content of responses.
      title: of the run.
      host: a name or an address of this machine.
      port: 0 takes one that is free.
      most_bytes: of a request.
      documents: name -> (number in the path) -> HTML of a page that loads
        nothing; the session's own page may show it in a frame.

    Raises:
      UserError: the port is in use, or the host is not this machine.
    """
    self.token = secrets.token_urlsafe(16)
    self._host = host
    self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
    if ":" in host:
      self.address_family = socket.AF_INET6
    self.most_bytes = most_bytes
    self.gets: Mapping[str, Callable[[int], Content]] = {
      "": lambda _: _page(session, title, bool(documents)),
      **{
        name: _made(responses.document, find)
        for name, find in documents.items()
      },
      **{
        name: _made(responses.json, find)
        for name, find in session.tables.items()
      },
      **{
        name: _made(responses.jpeg, find)
        for name, find in session.pictures.items()
      },
    }
    self.posts: Mapping[str, Callable[[Any], Any]] = session.posts
    try:
      super().__init__((host, port), _Handler)
    except (OSError, OverflowError) as error:
      raise UserError(
        f"cannot listen on {host}, port {port}: {_why(error)}. Choose with"
        " --host and --port; --port=0 takes a port that is free."
      ) from error

  def server_bind(self) -> None:
    """Binds without asking the name service, which may be slow to answer."""
    socketserver.TCPServer.server_bind(self)

  def process_request(self, request: Any, client_address: Any) -> None:
    """Gives a connection a thread, or closes it if there are too many."""
    if not self._free.acquire(blocking=False):
      with contextlib.suppress(OSError):
        request.settimeout(0)
        request.sendall(_BUSY)
      self.shutdown_request(request)
      return
    try:
      super().process_request(request, client_address)
    except BaseException:
      self._free.release()
      raise

  def process_request_thread(self, request: Any, client_address: Any) -> None:
    """Serves a connection to its end."""
    try:
      super().process_request_thread(request, client_address)
    finally:
      self._free.release()

  @property
  def address(self) -> str:
    """The address of the page."""
    everywhere = self._host in ("", "0.0.0.0", "::")
    host = socket.gethostname() if everywhere else self._host
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{self.server_address[1]}/{self.token}/"

  def is_own_name(self, host: str) -> bool:
    """Whether a Host header can only mean this machine."""
    name = _without_port(host)
    try:
      ipaddress.ip_address(name)
    except ValueError:
      own = ("localhost", self._host.lower(), socket.gethostname().lower())
      return name.lower() in own
    return True

  def handle_error(self, request: Any, client_address: Any) -> None:
    """Ignores connections that the browser has closed, or does not serve."""
    if not isinstance(sys.exception(), ConnectionError | TimeoutError):
      super().handle_error(request, client_address)


class _Request(io.RawIOBase):
  """What comes through a connection; each request has a deadline.

  Attributes:
    deadline: of the request that is awaited or has begun; None after one, until
      the next begins.
  """

  def __init__(self, connection: socket.socket) -> None:
    self._connection = connection
    self.deadline: float | None = time.monotonic() + _REQUEST_SECONDS

  def readable(self) -> bool:
    return True

  def readinto(self, buffer: Any) -> int:
    now = time.monotonic()
    left = _PATIENCE if self.deadline is None else self.deadline - now
    if left <= 0:
      raise TimeoutError
    self._connection.settimeout(left)
    count = self._connection.recv_into(buffer)
    if self.deadline is None:
      self.deadline = time.monotonic() + _REQUEST_SECONDS
    return count


class _Response(io.BytesIO):
  """A response; it is sent as a whole, within a time.

  Head and body apart would take 40 ms more, by which the other side delays its
  acknowledgement.
  """

  def __init__(self, connection: socket.socket) -> None:
    super().__init__()
    self._connection = connection

  def flush(self) -> None:
    content = self.getvalue()
    self.seek(0)
    self.truncate()
    if content:
      self._connection.settimeout(_REQUEST_SECONDS)
      self._connection.sendall(content)


class _Handler(server.BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"
  # Only a `Server` makes handlers.
  # pyrefly: ignore[bad-override-mutable-attribute]
  server: Server

  def setup(self) -> None:
    """Opens the streams of a connection."""
    self.connection = self.request
    self._asking = _Request(self.connection)
    self.rfile = io.BufferedReader(self._asking)
    self.wfile = _Response(self.connection)

  def handle_one_request(self) -> None:
    """Waits for a request and answers it."""
    super().handle_one_request()
    self._asking.deadline = None

  def do_GET(self) -> None:
    self._answer(self._get)

  def do_POST(self) -> None:
    self._answer(self._post)

  def _answer(self, find: Callable[[], Content]) -> None:
    status = http.HTTPStatus.OK
    try:
      content = find()
    except _Refused as refused:
      status, content = refused.status, responses.json({"error": str(refused)})
      # The request may have a body that was not read.
      self.close_connection = True
    except UserError as error:
      status = http.HTTPStatus.BAD_REQUEST
      content = responses.json({"error": str(error)})
    except (ConnectionError, TimeoutError):
      raise
    except Exception:
      logging.exception("%s %s", self.command, self.path)
      status = http.HTTPStatus.INTERNAL_SERVER_ERROR
      content = responses.json(
        {"error": "this went wrong; the terminal says more"}
      )
    self._send(status, content)

  def _get(self) -> Content:
    name, _, argument = self._asked().partition("/")
    if self.headers.get("Content-Length", "0") != "0":
      raise _Refused(http.HTTPStatus.BAD_REQUEST, "a GET has no body")
    if name not in self.server.gets or not _is_number(argument, name):
      raise _Refused(http.HTTPStatus.NOT_FOUND, "there is no such page")
    return self.server.gets[name](int(argument or 0))

  def _post(self) -> Content:
    name = self._asked()
    if name not in self.server.posts:
      raise _Refused(http.HTTPStatus.NOT_FOUND, "there is no such page")
    if self.headers.get_content_type() != "application/json":
      raise _Refused(
        http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json"
      )
    length = self.headers.get("Content-Length", "")
    if not length.isdecimal():
      raise _Refused(http.HTTPStatus.LENGTH_REQUIRED, "say the Content-Length")
    most = self.server.most_bytes
    if len(length) > 9 or int(length) > most:
      raise _Refused(
        http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send at most {most} bytes"
      )
    try:
      content = json_files.parsed(self.rfile.read(int(length)), Any)
    except UserError as error:
      raise UserError(f"what was sent {error}") from error
    return responses.json(self.server.posts[name](content))

  def _asked(self) -> str:
    """The path behind the token, if the request is allowed."""
    for name in ("Host", "Content-Length", "Content-Type"):
      if len(self.headers.get_all(name, ())) > 1:
        raise _Refused(http.HTTPStatus.BAD_REQUEST, f"send one {name}")
    # Behind such a line, other headers would not be seen.
    if self.headers.defects:
      raise _Refused(http.HTTPStatus.BAD_REQUEST, "a header has no name")
    if "Transfer-Encoding" in self.headers:
      raise _Refused(
        http.HTTPStatus.NOT_IMPLEMENTED, "send the body with its Content-Length"
      )
    if not self.server.is_own_name(self.headers.get("Host", "")):
      raise _Refused(http.HTTPStatus.FORBIDDEN, "ask by this machine's name")
    token, _, rest = self.path.lstrip("/").partition("/")
    if not secrets.compare_digest(token.encode(), self.server.token.encode()):
      raise _Refused(
        http.HTTPStatus.FORBIDDEN, "open the address that the terminal shows"
      )
    return rest

  def _send(self, status: http.HTTPStatus, content: Content) -> None:
    self.send_response(status)
    for name, value in (
      ("Content-Type", content.type),
      ("Content-Length", str(len(content.body))),
      ("Content-Security-Policy", content.policy),
      # Pictures of patients must not stay in the browser's cache.
      ("Cache-Control", "no-store"),
      ("Cross-Origin-Resource-Policy", "same-origin"),
      ("Referrer-Policy", "no-referrer"),
      ("X-Content-Type-Options", "nosniff"),
    ):
      self.send_header(name, value)
    if self.close_connection:
      self.send_header("Connection", "close")
    self.end_headers()
    self.wfile.write(content.body)

  def version_string(self) -> str:
    """A name without versions."""
    return "protojax"

  def log_message(self, format: str, *args: Any) -> None:
    """Requests are not logged: the terminal is for other messages."""


def _made(
  make: Callable[[Any], Content], find: Callable[[int], Any]
) -> Callable[[int], Content]:
  return lambda number: make(find(number))


def _page(session: Session, title: str, frames: bool) -> Content:
  nonce = secrets.token_urlsafe(16)
  text = view.page(session.template, title, session.facts(), nonce)
  return responses.page(text, nonce, frames)


def _is_number(argument: str, name: str) -> bool:
  """Whether a path ends in a number, as all but that of the page do."""
  if not name:
    return not argument
  return argument.isdecimal() and len(argument) < 10


def _without_port(host: str) -> str:
  if host.startswith("["):
    return host[1:].partition("]")[0]
  return host.partition(":")[0]


def _why(error: Exception) -> str:
  return (getattr(error, "strerror", None) or str(error)).lower()
