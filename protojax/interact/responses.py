"""Contents of the server's responses, each with what a browser may do with it.

A Content-Security-Policy allows a page its own script, and nothing from
elsewhere.
"""

import base64
import hashlib
import json as json_lib
import re
from typing import Any, NamedTuple

_HTML = "text/html; charset=utf-8"
_NOTHING = "'none'"
_ANYWAY = f"base-uri {_NOTHING}; form-action {_NOTHING}"


class Content(NamedTuple):
  """The content of a response."""

  type: str
  body: bytes
  policy: str = f"default-src {_NOTHING}"


def page(text: str, nonce: str, frames: bool) -> Content:
  """The page of a session.

  Args:
    text: HTML.
    nonce: random text that allows the page's own script, and no other, to run.
    frames: whether it may show documents of this server.
  """
  shown = "; frame-src 'self'" if frames else ""
  policy = (
    f"default-src {_NOTHING}; script-src 'nonce-{nonce}'; connect-src 'self';"
    " style-src 'unsafe-inline'; img-src 'self' data:;"
    f" {_ANYWAY}; frame-ancestors {_NOTHING}{shown}"
  )
  return Content(_HTML, text.encode(), policy)


def document(text: str) -> Content:
  """A page that loads nothing; the scripts in it run, and no others."""
  scripts = re.findall("<script>(.*?)</script>", text, re.DOTALL)
  digests = (hashlib.sha256(s.encode()).digest() for s in scripts)
  allowed = (f"'sha256-{base64.b64encode(d).decode()}'" for d in digests)
  policy = (
    f"default-src {_NOTHING}; script-src {' '.join(allowed) or _NOTHING};"
    " style-src 'unsafe-inline'; img-src data:;"
    f" {_ANYWAY}; frame-ancestors 'self'"
  )
  return Content(_HTML, text.encode(), policy)


def json(content: Any) -> Content:
  """What has the types of JSON."""
  text = json_lib.dumps(content, allow_nan=False)
  return Content("application/json", text.encode())


def jpeg(content: bytes) -> Content:
  """A picture."""
  return Content("image/jpeg", content)
