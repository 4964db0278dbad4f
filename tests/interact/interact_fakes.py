"""A concept model that sees colours, and small images of them."""

import contextlib
import http.client
import json
import threading

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from protojax import loading
from protojax.data import images
from protojax.data import stream as stream_lib
from protojax.data.resizing import SQUASH
from protojax.interact.server import Server
from protojax.methods.base import Capabilities
from protojax.operations.correcting import Atlas, Model, Session
from protojax.prototypes.bank import (
  Provenance,
  bank_buffers,
  bank_of,
  bank_params,
  with_bank,
)
from protojax.types import State, UserError

SIZE, GRID = 16, (4, 4)
FRAME = SQUASH.frame((20, 40), SIZE)
CLASSES = ("warm", "<b>cold</b>")
CONCEPTS = ("red", 'bl"ue')
# Scores of the concepts -> logits.
WEIGHT = np.array([[4.0, -1.0], [-1.0, 4.0]], np.float32)
BIAS = np.array([0.25, 0.0], np.float32)


class Source:
  """Grey photographs of 20 x 40 pixels with two squares, red and blue.

  The red square is in the upper left quarter, the blue one in the lower right;
  the greater their difference the surer the answer.
  """

  class_names = CLASSES
  skipped = ()

  def __init__(self, count=6):
    rng = np.random.default_rng(0)
    self.images = rng.integers(0, 30, (count, 20, 40, 3), np.uint8)
    red, blue = 250 - 30 * np.arange(count), 100 + 30 * np.arange(count)
    self.images[:, :10, :20, 0] = red[:, None, None]
    self.images[:, 10:, 20:, 2] = blue[:, None, None]
    self.labels = (np.arange(count) >= count // 2).astype(np.int32)

  def __len__(self):
    return len(self.images)

  def __getitem__(self, i):
    image, label = self.images[i], int(self.labels[i])
    return {"image": image, "label": label, "name": self.name(i)}

  def name(self, i):
    return f"<i>{i}</i>.png"


class Method:
  """Concept c is the mean of a colour channel of a cell, in 0..1."""

  capabilities = Capabilities(intervenes=lambda method: method)
  config = ConfigDict({"method": "colours", "data": {}})
  class_names, concept_names = CLASSES, CONCEPTS
  image_size, grid = SIZE, GRID

  def __init__(self, train=True):
    self.source, self.train = Source(), train

  def stream(self, split):
    if split == "train" and not self.train:
      raise UserError("/gone does not exist")
    return stream_lib.ordered(self.source, SIZE, 4)

  def intervene(self, state, images, importance, rejected):
    seen = jnp.asarray(images, jnp.float32)[..., ::2] / 255
    cells = seen.reshape(-1, GRID[0], 4, GRID[1], 4, 2).mean((2, 4))
    maps = cells * jnp.asarray(importance)[..., None]
    scores = jnp.where(jnp.asarray(rejected), 0.0, maps.max((1, 2)))
    logits = scores @ state.params["weight"].T + BIAS[None]
    points = state.params["weight"][logits.argmax(1)] * scores
    return {
      "logits": logits,
      "probabilities": jax.nn.softmax(logits),
      "concept_scores": scores,
      "contributions": points,
      "best": jnp.tile(jnp.arange(2)[None], (len(scores), 1)),
      "maps": maps,
    }


def state(method):
  """Prototype 0 is the red corner of image 0, 1 the blue one of the last."""
  last = len(method.source) - 1
  provenance = Provenance.empty(2)
  content = [
    images.digest(FRAME.pixels(method.source.images[i])) for i in (0, last)
  ]
  provenance = provenance.replace(
    image=np.array([0, last], np.int32),
    cell=np.array([0, 15], np.int32),
    content=np.stack(content),
  )
  state = State(
    {"weight": WEIGHT, "prototypes": bank_params(np.eye(2)[:, None, None])},
    {},
    bank_buffers(np.arange(2)),
  )
  return with_bank(state, bank_of(state).replace(provenance=provenance))


def run(folder, monkeypatch, train=True):
  """Makes `folder` a run of the model, as the command finds it."""
  method = Method(train)
  loaded = method, state(method), method.config
  monkeypatch.setattr(loading, "load", lambda _: loaded)
  folder.mkdir(exist_ok=True)
  (folder / "summary.json").write_text("{}")
  return loaded


def naive(image, look=(), ignore=(), rejected=(), alpha=0.5):
  """Probabilities by loops over cells; boxes in pixels of the image."""
  height, width, _ = image.shape
  small = FRAME.pixels(image).astype(float)
  scores = []
  for name, channel in zip(CONCEPTS, (0, 2), strict=True):
    best = 0.0
    for i in range(GRID[0]):
      for j in range(GRID[1]):
        y, x = (i + 0.5) / GRID[0] * height, (j + 0.5) / GRID[1] * width

        def inside(boxes, y=y, x=x):
          return any(t <= y < b and l <= x < r for t, l, b, r in boxes)

        a = 1.0 if inside(look) or not look else alpha
        a = 0.0 if inside(ignore) else a
        cell = small[4 * i : 4 * i + 4, 4 * j : 4 * j + 4, channel]
        best = max(best, a * cell.mean() / 255)
    scores.append(0.0 if name in rejected else best)
  logits = WEIGHT @ scores + BIAS
  return np.exp(logits) / np.exp(logits).sum()


def session(path, method=None):
  """Of a person who works on the images of a model."""
  method = method or Method()
  made = state(method)
  atlas = Atlas(method, made, method.grid)
  return Session(Model(method, made), method.source, path, atlas)


@contextlib.contextmanager
def serving(session):
  """A server in a thread."""
  with Server(session, "run </script>", "127.0.0.1", 0) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def ask(server, path="", body=None, token=None, **headers):
  """Status, headers and content of one answer."""
  link = http.client.HTTPConnection(*server.server_address[:2], timeout=300)
  address = f"/{server.token if token is None else token}/{path}"
  if body is None:
    link.request("GET", address, headers=headers)
  else:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **headers}
    link.request("POST", address, text, headers)
  answer = link.getresponse()
  content = answer.read()
  link.close()
  return answer.status, answer.headers, content
