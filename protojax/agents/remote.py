"""Asks servers over HTTP, with patience and with an end.

One server, one key. A request has a deadline as a whole, whatever the server
does: it may be silent, send a byte a minute, or be down. A server that is busy
is asked again, later and later, or when it says. The key is in no message.
"""

from collections.abc import Callable, Mapping
import dataclasses
import email.utils
import http
import http.client
import importlib
import ipaddress
import json
import os
import queue
import random
import threading
import time
from typing import Any, NamedTuple
import urllib.parse

from protojax import json_files
from protojax.agents.providers import Usage
from protojax.shown import shown
from protojax.types import UserError

# Statuses that may be others soon.
_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504, 529))
# Of an optional part of a request that a server does not know.
_UNKNOWN = (http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.UNPROCESSABLE_ENTITY)
_MOST_BYTES = 64 << 20
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds
_SAID = 160  # characters of what a server says of a mistake


class _Reply(NamedTuple):
  status: int
  headers: Mapping[str, str]
  body: bytes


class _Failed(Exception):
  """There is no reply; says why."""


@dataclasses.dataclass(frozen=True)
class Remote:
  """A server.

  Attributes:
    base_url: what paths are put behind: "https://host/v1".
    key_variable: of the environment; holds the key, if there is one.
    key_header: where the key stands in a request.
    key_form: how: "Bearer {}".
    deadline: seconds for a request, with all that is tried again.
    tries: at the most.
    at_once: requests at a time, at the most.
    usage: counts.
    wait: waits some seconds.

  Raises:
    UserError: the address is none, or the key would travel unencrypted.
  """

  base_url: str
  key_variable: str
  key_header: str = "Authorization"
  key_form: str = "Bearer {}"
  deadline: float = 120.0
  tries: int = 5
  at_once: int = 4
  usage: Usage = dataclasses.field(default_factory=Usage)
  wait: Callable[[float], None] = time.sleep
  _sessions: "queue.LifoQueue[Any]" = dataclasses.field(
    default_factory=queue.LifoQueue, init=False, repr=False
  )

  def __post_init__(self):
    try:
      found = urllib.parse.urlsplit(self.base_url)
      host, _ = found.hostname, found.port
    except ValueError:
      found, host = urllib.parse.urlsplit(""), None
    if found.scheme not in ("http", "https") or not host or found.username:
      raise UserError(
        f"{shown(self.base_url)} is no address of a server, such as"
        " http://127.0.0.1:8080/v1"
      )
    if found.scheme == "http" and self._key() and not _is_here(host):
      raise UserError(
        f"the key in {self.key_variable} would travel unencrypted to"
        f" {shown(self.base_url)}: use https"
      )
    for _ in range(self.at_once):
      self._sessions.put(None)

  def post(
    self,
    path: str,
    content: Mapping[str, Any],
    optional: Mapping[str, Any] | None = None,
  ) -> Any:
    """The JSON that the server answers with.

    Args:
      path: behind the base.
      content: of the request.
      optional: more of it, which is left out if the server does not know it.

    Raises:
      UserError: there is no answer in time, or it is an error or no JSON.
    """
    end = time.monotonic() + self.deadline
    reply = self._replied(path, {**content, **(optional or {})}, end)
    if optional and reply.status in _UNKNOWN:
      reply = self._replied(path, content, end)
    if reply.status != http.HTTPStatus.OK:
      raise UserError(self._refusal(reply))
    try:
      return json_files.parsed(reply.body, dict[str, Any])
    except UserError as error:
      raise UserError(
        f"what {self.base_url} sent {self._safe(error)}"
      ) from None

  def count(self, used: Any, words_in: str, words_out: str) -> None:
    """Counts the tokens that a server tells of, if it does.

    Args:
      used: what it sent of them.
      words_in: the key of those that it read.
      words_out: of those that it wrote.
    """
    if isinstance(used, dict):
      into, out = (
        value if isinstance(value := used.get(name), int) else 0
        for name in (words_in, words_out)
      )
      self.usage.add(words_in=into, words_out=out)

  def _replied(self, path: str, content: Mapping[str, Any], end) -> _Reply:
    """The reply, after as many tries as it takes and may."""
    chance, why, reply = random.Random(), "", None
    for number in range(self.tries):
      self.usage.add(requests=1, retries=int(number > 0))
      least = 0.0
      try:
        reply = self._in_time(path, json.dumps(content).encode(), end)
      except _Failed as failed:
        reply, why = None, str(failed)
      else:
        if reply.status not in _AGAIN:
          return reply
        least = _retry_after(reply.headers)
      longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2**number)
      seconds = max(least, chance.uniform(longest / 2, longest))
      if number + 1 == self.tries or time.monotonic() + seconds >= end:
        break
      self.wait(seconds)
    if reply is not None:
      return reply
    raise UserError(f"{self.base_url} does not answer: {self._safe(why)}")

  def _in_time(self, path: str, body: bytes, end: float) -> _Reply:
    """One try, in a thread of its own: nothing else ends for sure.

    Connecting, a slow head and a slow body each have waits of their own, none
    of which has a total.
    """
    late = f"nothing within {self.deadline:g} s"
    try:
      session = self._sessions.get(timeout=max(0.0, end - time.monotonic()))
    except queue.Empty:
      raise _Failed(late) from None
    found: list[_Reply | _Failed] = []
    left = threading.Event()
    session = session or _client().Session()

    def ask() -> None:
      found.append(self._asked(session, path, body, end, left))

    asking = threading.Thread(target=ask, daemon=True)
    try:
      asking.start()
      asking.join(max(0.0, end - time.monotonic()))
    finally:
      left.set()
      # A session that is still busy is left to its thread.
      self._sessions.put(None if asking.is_alive() else session)
    if not found:
      raise _Failed(late)
    if isinstance(found[0], _Failed):
      raise found[0]
    return found[0]

  def _asked(self, session, path, body, end, left) -> "_Reply | _Failed":
    client, seconds = _client(), max(0.01, end - time.monotonic())
    key = self._key()
    headers = {"Content-Type": "application/json"}
    if key:
      headers[self.key_header] = self.key_form.format(key)
    try:
      # A redirect would take the key elsewhere; and without `auth` a netrc
      # would replace it.
      with session.post(
        f"{self.base_url.rstrip('/')}/{path}",
        data=body,
        headers=headers,
        timeout=seconds,
        stream=True,
        allow_redirects=False,
        auth=lambda request: request,
      ) as reply:
        parts, size = [], 0
        for part in reply.iter_content(1 << 10):
          parts.append(part)
          size += len(part)
          if left.is_set() or size > _MOST_BYTES:
            return _Failed(f"its answer has more than {size - 1:,} bytes")
        return _Reply(reply.status_code, reply.headers, b"".join(parts))
    except client.Timeout:
      return _Failed(f"nothing within {self.deadline:g} s")
    except client.ConnectionError as error:
      return _Failed(_reason(error))
    except client.RequestException as error:
      return _Failed(type(error).__name__)

  def _refusal(self, reply: _Reply) -> str:
    said = _said(reply.body)
    status = f"{reply.status} {http.client.responses.get(reply.status, '')}"
    found = f"{self.base_url} answers {status.strip()}"
    if said:
      found += f": {shown(self._safe(said)[:_SAID])}"
    if reply.status in (401, 403):
      has = "holds the key that it got" if self._key() else "is not set"
      found += f"; {self.key_variable} {has}"
    return found

  def _key(self) -> str:
    return os.environ.get(self.key_variable, "").strip()

  def _safe(self, text: object) -> str:
    key = self._key()
    return str(text).replace(key, "***") if key else str(text)


def _said(body: bytes) -> str:
  """What a server says of a mistake: its JSON's message, or all of it."""
  text = body.decode("utf-8", "replace")
  try:
    found = json_files.parsed(text, dict[str, Any]).get("error", "")
  except UserError:
    return text
  if isinstance(found, dict):
    found = found.get("message", "")
  return str(found)


def _retry_after(headers: Mapping[str, str]) -> float:
  """Seconds that a server asks to wait; 0 if it does not say."""
  said = headers.get("Retry-After", "").strip()
  try:
    if said.isdecimal():
      return float(said)
    when = email.utils.parsedate_to_datetime(said).timestamp()
    return max(0.0, when - time.time())
  except (ValueError, OverflowError):
    return 0.0


def _reason(error: BaseException) -> str:
  """What the system says, in a chain of errors, of a failed connection."""
  at: Any = error
  for _ in range(8):
    if isinstance(at, OSError) and at.strerror:
      return at.strerror.lower()
    inner = getattr(at, "reason", None) or at.__cause__ or at.__context__
    at = inner or next(
      (x for x in getattr(at, "args", ()) if isinstance(x, BaseException)), None
    )
    if at is None:
      break
  return "the connection broke"


def _is_here(host: str) -> bool:
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host == "localhost"


def _client() -> Any:
  try:
    return importlib.import_module("requests")
  except ImportError:
    raise UserError(
      "providers need requests: python -m pip install 'protojax[agents]'"
    ) from None
