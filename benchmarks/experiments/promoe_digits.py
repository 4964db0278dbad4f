"""ProMoE on the embedded digits, beside its ablation and other routers.

The table of docs/promoe.md. All arms have as many parameters in use, and the
same steps. Judged are images of the averaged weights.
"""

from collections.abc import Mapping
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import experiment
from protojax import loading, parallel
from protojax.methods.base import needed
from protojax.methods.promoe import statistics
from protojax.methods.promoe.network import average
from protojax.metrics import generation

QUESTION = "What does each part of ProMoE's routing bring on digits?"

_FILE = "configs/promoe_digits.py"
_SMALL = {"network.channels": 32, "steps": 700}

ARMS = {
  "dense": (_FILE, {**_SMALL, "moe.routing": "dense"}),
  "token choice, softmax, balance loss": (
    _FILE,
    {**_SMALL, "moe.routing": "token_choice"},
  ),
  "expert choice, softmax": (_FILE, {**_SMALL, "moe.routing": "expert_choice"}),
  "prototypical": (_FILE, {**_SMALL, "moe.routing": "prototypical"}),
  "+ contrastive loss": (_FILE, {**_SMALL, "moe.routing": "contrastive"}),
  "+ conditional (ProMoE)": (_FILE, _SMALL),
  "ProMoE, softmax": (_FILE, {**_SMALL, "moe.activation": "softmax"}),
  "ProMoE, sigmoid": (_FILE, {**_SMALL, "moe.activation": "sigmoid"}),
  "ProMoE, balance loss": (_FILE, {**_SMALL, "loss.balance": 0.01}),
  "k-means": (_FILE, {**_SMALL, "moe.routing": "kmeans"}),
  "k-means, conditional": (
    _FILE,
    {**_SMALL, "moe.routing": "kmeans_conditional"},
  ),
  "classes": (_FILE, {**_SMALL, "moe.routing": "classes"}),
}

FIGURES = {
  "held-out loss": "metrics.loss",
  "judge's accuracy": "plain.accuracy",
  "Frechet distance": "plain.frechet",
  "judge's accuracy, guided": "guided.accuracy",
  "Frechet distance, guided": "guided.frechet",
  "load entropy": "routing.load_entropy",
  "smallest share": "routing.smallest_share",
  "margin": "routing.margin",
  "information on patches": "routing.information",
}

SEEDS = (0, 1, 2)

# steps: of the sampler; guidance: of the guided images; clusters: of patches.
SETTINGS = {"images": 500, "steps": 25, "guidance": 1.5, "clusters": 8}


class _Judge:
  """A classifier of real digits: names classes, and gives features."""

  def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
    from sklearn.neural_network import MLPClassifier

    self._classifier = MLPClassifier((32,), max_iter=400, random_state=0)
    self._classifier.fit(_flat(images), labels)
    self._real = generation.gaussian([self._features(images)])

  def _features(self, images: np.ndarray) -> np.ndarray:
    weights, bias = self._classifier.coefs_[0], self._classifier.intercepts_[0]
    return np.maximum(_flat(images) @ weights + bias, 0)

  def figures(self, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Of drawn images, and the classes that they were drawn by."""
    drawn = generation.gaussian([self._features(images)])
    return {
      "accuracy": float(self._classifier.score(_flat(images), labels)),
      "frechet": generation.frechet_distance(self._real, drawn),
    }


def _flat(images: np.ndarray) -> np.ndarray:
  return images[..., 0].reshape(len(images), -1) / 255


def _judged(
  workdir: Path,
  data: Path,
  images: int,
  steps: int,
  guidance: float,
  clusters: int,
) -> Mapping[str, Any]:
  """What a run says of itself, its images, and its routing.

  The figures of a routing are means over layers and times; 0 for dense layers.
  """
  method, state, _ = loading.load(workdir)
  train = method.dataset.source("train")
  judge = _Judge(train.images, train.labels)
  generates = needed(method, "generates")
  labels = np.arange(images) % len(method.dataset.class_names)
  found = dict(experiment.summary(workdir, data))
  for name, weight in (("plain", 1.0), ("guided", guidance)):
    drawn = generates.generate(
      state, {"guidance": weight, "steps": steps}, parallel.key(0), images
    )
    found[name] = judge.figures(drawn, labels)
  names = "load_entropy", "smallest_share", "margin"
  found["routing"] = {n: found["metrics"].get(n, 0.0) for n in names}
  found["routing"]["information"] = _information(method, state, clusters)
  return found


def _information(method: Any, state: Any, clusters: int) -> float:
  """Nats that a patch's expert tells of its cluster; see `_judged`."""
  net = method.network
  if net.rule is None:
    return 0.0
  from sklearn.cluster import KMeans

  test = method.stream("test")
  kmeans = KMeans(clusters, n_init=4, random_state=0)
  kmeans.fit(_patches(method.dataset.source("train").images))
  cluster = kmeans.predict(_patches(test.source.images))
  rows = [
    made["experts"][batch["valid"]]
    for batch, made in parallel.each(
      functools.partial(_experts, method), state, test.batches()
    )
  ]
  experts = np.concatenate(rows)  # images, times, layers, tokens
  experts = np.moveaxis(experts, 0, 2).reshape(*experts.shape[1:3], -1)
  each = [_mutual(cluster, of) for of in experts.reshape(-1, len(cluster))]
  return float(np.mean(each))


def _patches(images: np.ndarray) -> np.ndarray:
  """Patches of two by two pixels, in the order of tokens: [n*16 4]."""
  x = images[..., 0].reshape(-1, 4, 2, 4, 2) / 255
  return np.moveaxis(x, 2, 3).reshape(-1, 4)


def _experts(method: Any, state: Any, batch: Any) -> dict[str, Any]:
  def at(given):
    t, number = given
    answer = method.network.seen(average(state), batch, t, number).answer
    return statistics.strongest(answer.evidence)

  times = method._times
  found = jax.lax.map(at, (times, jnp.arange(len(times))))
  return {"experts": jnp.moveaxis(found, 2, 0)}


def _mutual(a: np.ndarray, b: np.ndarray) -> float:
  counts = np.zeros((a.max() + 1, b.max() + 1))
  np.add.at(counts, (a, b), 1)
  p = counts / counts.sum()
  own = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
  some = p > 0
  return float((p[some] * np.log(p[some] / own[some])).sum())


MEASURE = _judged
