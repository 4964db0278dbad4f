"""Queries become classes of pixels and segments."""

import jax
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from protojax.methods.pem import inference
from protojax.methods.pem.inference import Thresholds

_SEMANTIC = jax.jit(inference.semantic)
_PANOPTIC = jax.jit(inference.panoptic, static_argnums=3)
THRESHOLDS = Thresholds(0.8, 0.8)


def test_a_query_of_no_object_adds_nothing():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(5, 4)).astype(np.float32)
  masks = rng.normal(size=(5, 6, 6)).astype(np.float32)
  share = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  expected = np.einsum("qk,qhw->hwk", share[:, :3], 1 / (1 + np.exp(-masks)))
  found = _SEMANTIC(logits, masks)
  assert_allclose(found, expected, rtol=1e-5)
  more = np.concatenate([logits, [[0, 0, 0, 60.0]]]).astype(np.float32)
  over = np.concatenate([masks, np.ones((1, 6, 6))]).astype(np.float32)
  assert_allclose(_SEMANTIC(more, over), found, rtol=1e-5)


def _by_hand(logits, masks, things):
  """The authors' loop: plane of numbers, and (class, pixels) of each."""
  share = np.exp(logits - logits.max(-1, keepdims=True))
  share /= share.sum(-1, keepdims=True)
  scores, labels = share.max(-1), share.argmax(-1)
  inside = 1 / (1 + np.exp(-masks))
  keep = [
    q
    for q in range(len(logits))
    if labels[q] != logits.shape[1] - 1 and scores[q] > 0.8
  ]
  plane, segments, stuff = np.zeros(masks.shape[1:], int), [], {}
  if not keep:
    return plane, segments
  owner = (scores[keep, None, None] * inside[keep]).argmax(0)
  for k, q in enumerate(keep):
    own, within = owner == k, inside[q] >= 0.5
    mask = own & within
    if not mask.any() or own.sum() / within.sum() < 0.8:
      continue
    label = labels[q]
    if not things[label] and label in stuff:
      plane[mask] = stuff[label]
      continue
    segments.append(label)
    plane[mask] = stuff[label] = len(segments)
  return plane, segments


def test_segments_are_those_of_the_authors_loop():
  rng = np.random.default_rng(1)
  things = np.array([True, False, False])
  shown = joined = 0
  for _ in range(30):
    logits = 4 * rng.normal(size=(7, 4)).astype(np.float32)
    blocks = rng.normal(size=(7, 3, 3))
    masks = np.kron(4 * blocks, np.ones((1, 4, 4))).astype(np.float32)
    plane, labels = _by_hand(logits, masks, things)
    found = _PANOPTIC(logits, masks, things, THRESHOLDS)
    numbers = [n for n in np.unique(found.plane) if n]
    assert len(numbers) == len(set(plane[plane > 0]))
    for n in numbers:
      own = set(plane[np.asarray(found.plane) == n])
      assert len(own) == 1
      number = own.pop()
      assert labels[number - 1] == found.classes[n - 1]
      assert_array_equal(plane == number, np.asarray(found.plane) == n)
    merged = np.asarray(found.merged)
    shown += len(numbers)
    joined += (merged >= 0).sum() - len(set(merged[merged >= 0]))
  assert shown > 15
  assert joined > 0


def test_without_a_sure_query_all_is_void():
  logits = np.zeros((3, 4), np.float32)
  masks = np.ones((3, 5, 5), np.float32)
  found = _PANOPTIC(logits, masks, np.ones(3, bool), THRESHOLDS)
  assert not found.plane.any()
  assert (found.merged == -1).all()
