"""EPIC after edits: points that are taken away, and a probe found anew."""

import jax
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest
from scipy.stats import ortho_group

from protojax import parallel
from protojax.backbones import classifier
from protojax.data import stream as stream_lib
from protojax.engine import convex
from protojax.engine.cached import Cached
from protojax.interact import edits as edits_lib
from protojax.interact.editing import Editor
from protojax.methods.epic import editing, folding
from protojax.methods.epic.network import RotatedNetwork
from protojax.prototypes.bank import bank_of, with_bank
from protojax.types import UserError
from tests.conftest import ArraySource

_SIDE, _CLASSES, _CHANNELS, _GONE = 4, 3, 6, 2


def _maps(scale, x):
  """Channels that differ: an image's cells, at several strengths."""
  return scale[None, None, None] * x[..., :1] + 0.1 * x[..., 1:2]


@pytest.fixture(scope="module")
def network():
  backbone = classifier.from_function(
    _maps,
    np.linspace(0.1, 1.0, _CHANNELS, dtype=np.float32),
    channels=_CHANNELS,
    stride=1,
  )
  names = tuple(f"class {k}" for k in range(_CLASSES))
  return RotatedNetwork(backbone, _SIDE, names)


@pytest.fixture(scope="module")
def state(network):
  """A classifier of its own, with a random U before its head."""
  rng = np.random.default_rng(0)
  weight = rng.normal(size=(_CLASSES, _CHANNELS)).astype(np.float32)
  head = classifier.Head(weight, np.arange(_CLASSES, dtype=np.float32))
  start = jax.jit(lambda key: network.init(key, 1))(parallel.init_key(0))
  state = folding.with_head(parallel.to_host(start), head)
  turned = ortho_group.rvs(_CHANNELS, random_state=1)
  return folding.folded(state, turned)


def _stream(seed):
  return stream_lib.ordered(ArraySource(15, _SIDE, _CLASSES, seed), _SIDE, 5)


def _editor(network, state, solves):
  return Editor(
    editing.Channels(network, Cached(network.map_rows), solves),
    state,
    _stream(1),
    lambda: _stream(0),
  )


_REMOVED = edits_lib.parse(
  [{"edit": "remove", "prototypes": [_GONE], "reason": "confounded"}]
)


def test_the_points_of_a_channel_are_taken_away(network, state):
  """A classifier that came trained keeps all other weights."""
  editor = _editor(network, state, solves=False)
  edited = editor(_REMOVED)
  scores = np.asarray(editor._scores)
  weight, bias = network.weights(state), network.bias(state)
  logits = scores @ np.asarray(weight).T + np.asarray(bias)
  logits -= scores[:, [_GONE]] * np.asarray(weight)[None, :, _GONE]
  shown = np.exp(logits - logits.max(1, keepdims=True))
  assert_allclose(
    edited.answers.probabilities, shown / shown.sum(1, keepdims=True), atol=1e-5
  )
  head = edited.state.params["head"]
  assert_array_equal(head["weight"], state.params["head"]["weight"])
  # Explanations open it all the same; agreement is with the whole classifier.
  folding.require_same(edited.state)
  assert_allclose(
    editor.reference.probabilities, editor.before.probabilities, atol=1e-5
  )
  later = _editor(network, edited.state, solves=False)
  assert_allclose(
    later.reference.probabilities, editor.reference.probabilities, atol=1e-5
  )


def test_a_forbidden_weight_is_0_and_nothing_else(network, state):
  editor = _editor(network, state, solves=False)
  asked = {"edit": "forbid", "prototypes": [1], "class": "class 2"}
  edited = editor(edits_lib.parse([asked]))
  expected = np.array(state.params["head"]["weight"])
  assert expected[2, 1] != 0
  expected[2, 1] = 0
  assert_array_equal(edited.state.params["head"]["weight"], expected)
  folding.require_same(edited.state)
  # A head that nobody edited and that is not the classifier is still refused.
  off = {**state.params["head"], "weight": 2 * expected + 1}
  with pytest.raises(UserError, match="is not the classifier"):
    folding.require_same(state.replace(params={**state.params, "head": off}))


def test_a_probe_is_found_anew_for_the_channels_that_are_left(network, state):
  """There the gradient of cross entropy and ridge is 0, by NumPy."""
  channels = editing.Channels(network, Cached(network.map_rows), True)
  stream = _stream(0)
  scores = np.random.default_rng(2).normal(size=(15, _CHANNELS))
  data = convex.batches({"scores": scores.astype(np.float32)}, stream)
  alive = np.arange(_CHANNELS) != _GONE
  dead = with_bank(state, bank_of(state).replace(alive=alive))
  forbidden = np.zeros((_CLASSES, _CHANNELS), bool)
  forbidden[1, 0] = True
  found = channels.solved(dead, data, forbidden).params["head"]
  weight, bias = (np.float64(found[name]) for name in ("weight", "bias"))
  assert weight[1, 0] == 0
  logits = scores[:, alive] @ weight[:, alive].T + bias
  share = np.exp(logits - logits.max(1, keepdims=True))
  share /= share.sum(1, keepdims=True)
  off = (share - np.eye(_CLASSES)[stream.labels]) / 15
  was = state.params["head"]
  slope = off.T @ scores + editing._RIDGE * (weight - was["weight"])
  free = alive[None] & ~forbidden
  assert np.abs(slope[free]).max() < 1e-5
  slope = off.sum(0) + editing._RIDGE * (bias - was["bias"])
  assert np.abs(slope).max() < 1e-5
  # A dead channel keeps its weights, which do not count.
  assert_array_equal(weight[:, _GONE], was["weight"][:, _GONE])


def test_channels_are_not_merged(network, state):
  editor = _editor(network, state, solves=False)
  asked = edits_lib.parse([{"edit": "merge", "prototypes": [0, 1]}])
  with pytest.raises(UserError, match="none repeats another"):
    editor(asked)
