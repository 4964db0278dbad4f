"""Losses, the adversary's maps, text conditioning, and the words."""

import json
import math

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from protojax import parallel
from protojax.methods.tcsa_uda import (
  adversary,
  conditioning,
  judging,
  losses,
  words,
)
from protojax.types import State, UserError


def test_self_information_of_certain_and_of_equal_answers():
  certain = jax.nn.one_hot(jnp.zeros((1, 2, 2), int), 5)
  np.testing.assert_allclose(adversary.information(certain), 0, atol=1e-6)
  equal = jnp.full((1, 2, 2, 5), 0.2)
  found = adversary.information(equal)
  np.testing.assert_allclose(found, 1 / 5, atol=1e-5)
  np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def test_what_the_adversary_sees():
  logits = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
  p = jax.nn.softmax(logits, axis=-1)
  np.testing.assert_allclose(adversary.seen(logits, False, 1), p, atol=1e-6)
  halved = adversary.seen(logits, True, 2)
  wanted = adversary.information(p).reshape(2, 2, 2, 2, 2, 3).mean((2, 4))
  np.testing.assert_allclose(halved, wanted, atol=1e-6)


def test_binary_cross_entropy_of_patches():
  logits = jnp.asarray([[[-2.0, 0.5]]])
  p = 1 / (1 + np.exp(-np.asarray(logits)))
  for domain in (adversary.SOURCE, adversary.TARGET):
    total, count = adversary.cross_entropy(logits, domain)
    wanted = -(domain * np.log(p) + (1 - domain) * np.log(1 - p)).sum()
    np.testing.assert_allclose(total, wanted, rtol=1e-5)
    assert count == 2


def of_batch(function, *arrays):
  """Value of terms over all devices: psum of totals / psum of counts."""

  def step(*given):
    total, count = function(*given)[:2]
    total, count = parallel.psum((total, jnp.float32(count)))
    return total / count

  program = parallel.pmap(step, in_axes=(0,) * len(arrays), out_axes=None)
  sharded = parallel.shard({str(i): x for i, x in enumerate(arrays)})
  return float(program(*(sharded[str(i)] for i in range(len(arrays)))))


def test_losses_of_pixels_are_those_of_loops():
  rng = np.random.default_rng(0)
  logits = np.float32(rng.normal(size=(4, 3, 5, 3)))
  labels = rng.integers(0, 3, (4, 3, 5))
  labels[1, :2] = losses.VOID
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  known = labels != losses.VOID
  counts = np.array([(labels == k).sum() for k in range(3)])
  weights = 1 - (counts + 1) / counts.sum()
  total = scale = 0.0
  for place in zip(*np.nonzero(known), strict=True):
    w = weights[labels[place]]
    total -= w * math.log(p[place][labels[place]])
    scale += w

  def entropy(logits, labels):
    weights = losses.class_weights(labels, 3)
    return losses.cross_entropy(logits, labels, weights, 1.0)

  np.testing.assert_allclose(
    of_batch(entropy, logits, labels), total / scale, rtol=1e-5
  )
  each = []
  for image in range(4):
    for k in range(3):
      q = p[image, ..., k][known[image]]
      y = (labels[image] == k)[known[image]]
      each.append(1 - 2 * (q * y).sum() / ((q**2).sum() + y.sum() + 1e-5))
  np.testing.assert_allclose(
    of_batch(lambda x, y: losses.dice(x, y, 1.0), logits, labels),
    np.mean(each),
    rtol=1e-5,
  )


def test_attention_to_a_single_key_is_the_same_for_every_query():
  """Gotcha 4: the query has no say."""
  keys = jax.random.split(jax.random.key(0), 3)
  q = jax.random.normal(keys[0], (2, 5, 3, 4))
  k, v = (jax.random.normal(key, (2, 1, 3, 4)) for key in keys[1:])
  found = conditioning.attended(q, k, v)
  wanted = jnp.broadcast_to(v.reshape(2, 1, 12), (2, 5, 12))
  np.testing.assert_allclose(found, wanted, atol=1e-6)


# Words.

NAMES = ("outside", "grey matter", "white matter")


def of_config(names=NAMES, mode="relation", **changes):
  found = {"kind": "tfidf", "file": "", "weights": "", "shuffled": False}
  return words.of_config(
    ConfigDict({**found, **changes}), names, mode, ConfigDict({"root": ""})
  )


def test_words_that_share_words_are_alike():
  found = of_config().relations
  np.testing.assert_allclose(found, found.T)
  assert found[1, 2] > max(found[0, 1], found[0, 2])
  np.testing.assert_allclose(np.diagonal(found), 1, atol=1e-5)


def test_tfidf_is_that_of_scikit_learn_on_words_alone(monkeypatch):
  text = pytest.importorskip("sklearn.feature_extraction.text")
  texts = ["a grey part of it", "a white part", "all of the rest, a rest"]
  monkeypatch.setattr(words, "_pieces", lambda s: words._NAMED.findall(s))
  found = words.tfidf(texts)
  vectorizer = text.TfidfVectorizer(token_pattern=r"[^\W_]+")
  np.testing.assert_allclose(
    found, vectorizer.fit_transform(texts).toarray(), atol=1e-6
  )


def test_texts_of_a_file_and_one_that_lacks_a_class(tmp_path):
  file = tmp_path / "texts.json"
  texts = dict(zip(NAMES, ("air", "cells", "fibres of cells"), strict=True))
  file.write_text(json.dumps(texts))
  found = of_config(file=str(file))
  assert found.texts == ("air", "cells", "fibres of cells")
  del texts["grey matter"]
  file.write_text(json.dumps(texts))
  with pytest.raises(UserError, match="has no text for grey matter"):
    of_config(file=str(file))


def test_vectors_and_matrices_of_files(tmp_path):
  vectors = np.random.default_rng(0).normal(size=(2, 3, 8))
  path = str(tmp_path / "a.npy")
  np.save(path, vectors)
  found = of_config(kind="array", file=path)
  np.testing.assert_allclose(
    found.relations, np.corrcoef(vectors.mean(0)), atol=1e-5
  )
  np.save(path, vectors[0, :2])
  with pytest.raises(UserError, match="expected a row for each of the 3"):
    of_config(kind="array", file=path)
  with pytest.raises(UserError, match=r"is no array of NumPy"):
    of_config(kind="array", file=str(tmp_path / "no.npy"))
  csv = tmp_path / "m.csv"
  lines = [
    ",white matter,outside,grey matter",
    "outside,0,1,0.1",
    "grey matter,0.8,0.1,1",
    "white matter,1,0,0.8",
  ]
  csv.write_text("\n".join(lines) + "\n")
  found = of_config(kind="matrix", file=str(csv)).relations
  np.testing.assert_allclose(found, [[1, 0.1, 0], [0.1, 1, 0.8], [0, 0.8, 1]])
  for line, said in (
    ("white matter,1,0,0.7", "symmetric"),
    ("white matter,1,0,x", "no matrix of numbers"),
    ("white matter,1,nan,0.8", "finite and symmetric"),
    ("other,1,0,0.8", "no row and column for white matter"),
  ):
    csv.write_text("\n".join([*lines[:-1], line]) + "\n")
    with pytest.raises(UserError, match=said):
      of_config(kind="matrix", file=str(csv))


def test_shuffled_relations_are_those_of_other_classes():
  for count in (3, 4):
    names = tuple(f"class {'abcdefghijk'[i] * (i + 1)}" for i in range(count))
    plain = of_config(names).relations
    moved = of_config(names, shuffled=True).relations
    assert not np.allclose(moved, plain)
    upper = np.triu_indices(count, 1)
    np.testing.assert_allclose(np.sort(moved[upper]), np.sort(plain[upper]))


def test_relations_of_strokes_are_for_digits():
  from protojax.datasets import digit_domains

  found = of_config(digit_domains.CLASS_NAMES, kind="strokes").relations
  assert found.shape == (11, 11)
  np.testing.assert_allclose(np.diagonal(found), 1, atol=1e-6)
  with pytest.raises(UserError, match="is for the data set digit_domains"):
    of_config(kind="strokes")


def test_the_distance_of_centres_is_the_last_that_is_known():
  history = np.full((5, 3), -1.0)
  history[1] = 4
  history[3] = 0.5, -1, 2
  state = State({}, {}, {}, memory={"history": history})
  assert judging.of_centres(state) == {"centres": 2.5}
  assert not judging.of_centres(state.replace(memory={"history": history[:1]}))
