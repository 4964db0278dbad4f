"""A server on this machine that speaks as providers do, well or badly."""

import base64
import contextlib
from http import server
import json
import threading
import time

import numpy as np

from protojax.agents import pictures

KEY = "sk-secret-of-the-tests"


class Stub:
  """What is answered, in this order; the last one for ever.

  Each is a function of the request's path and JSON that gives a status, more
  headers, and the bytes of the body; or parts of it, with seconds before each.

  Attributes:
    asked: path, headers and JSON of every request.
  """

  def __init__(self, *answers):
    self.asked = []
    self._answers = list(answers)
    self._lock = threading.Lock()

  def next(self, path, headers, content):
    with self._lock:
      self.asked.append((path, headers, content))
      first = self._answers[0]
      if len(self._answers) > 1:
        self._answers.pop(0)
    return first(path, content)


@contextlib.contextmanager
def serving(*answers):
  """The base address of a stub, and the stub."""
  stub = Stub(*answers)

  class Handler(server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
      length = int(self.headers["Content-Length"])
      content = json.loads(self.rfile.read(length))
      status, headers, body = stub.next(self.path, dict(self.headers), content)
      with contextlib.suppress(ConnectionError):
        self.send_response(status)
        for name, value in headers.items():
          self.send_header(name, value)
        parts = [(0, body)] if isinstance(body, bytes) else body
        size = sum(len(part) for _, part in parts)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        for seconds, part in parts:
          time.sleep(seconds)
          self.wfile.write(part)
          self.wfile.flush()

    def log_message(self, *_):
      pass

  with server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
    made.daemon_threads = True
    made.block_on_close = False
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    try:
      yield f"http://127.0.0.1:{made.server_address[1]}/v1", stub
    finally:
      made.shutdown()
      thread.join()


def fails(status, body=b"{}", **headers):
  named = {name.replace("_", "-"): value for name, value in headers.items()}
  return lambda path, content: (status, named, body)


def says(*texts):
  """Texts in the protocol that the path is of, one for each request."""
  left = list(texts)

  def answer(path, content):
    text = left.pop(0) if len(left) > 1 else left[0]
    return 200, {}, json.dumps(spoken(path, text)).encode()

  return answer


def spoken(path, text, likely=None):
  """The JSON of an answer."""
  if "generateContent" in path:
    found = {"content": {"role": "model", "parts": [{"text": text}]}}
    if likely:
      first = [{"token": k, "logProbability": v} for k, v in likely.items()]
      found["logprobsResult"] = {"topCandidates": [{"candidates": first}]}
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3}
    return {"candidates": [found], "usageMetadata": usage}
  choice = {"message": {"role": "assistant", "content": text}}
  if likely:
    first = [{"token": k, "logprob": v} for k, v in likely.items()]
    choice["logprobs"] = {"content": [{"top_logprobs": first}]}
  usage = {"prompt_tokens": 7, "completion_tokens": 3}
  return {"choices": [choice], "usage": usage}


def draws(path, content):
  """Pictures whose grey level counts them."""
  if "predict" in path:
    n = content["parameters"]["sampleCount"]
  else:
    n = content.get("n", 1)
  files = [
    base64.b64encode(
      pictures.png(np.full((8, 8, 3), 10 * (i + 1), np.uint8))
    ).decode()
    for i in range(n)
  ]
  if "predict" in path:
    found = {"predictions": [{"bytesBase64Encoded": x} for x in files]}
  elif "generateContent" in path:
    parts = [{"text": "Here:"}, {"inlineData": {"data": files[0]}}]
    found = {"candidates": [{"content": {"parts": parts}}]}
  else:
    found = {"data": [{"b64_json": x} for x in files]}
  return 200, {}, json.dumps(found).encode()
