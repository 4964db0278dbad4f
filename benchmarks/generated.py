"""What the experiments of ProMoE measure: images, and routing.

Judged are images of the averaged weights, by a small classifier of real ones.
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


class _Judge:
  """A classifier of real images: names classes, and gives features."""

  def __init__(
    self, images: np.ndarray, labels: np.ndarray, epochs: int
  ) -> None:
    from sklearn.neural_network import MLPClassifier

    self._classifier = MLPClassifier((32,), max_iter=epochs, random_state=0)
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
  return images.reshape(len(images), -1) / 255


def measured(
  workdir: Path,
  data: Path,
  images: int,
  steps: int,
  guidance: float,
  clusters: int,
  epochs: int = 400,
) -> Mapping[str, Any]:
  """What a run says of itself, its images, and its routing.

  The figures of a routing are means over layers and times; 0 for dense layers.

  Args:
    workdir: of the run.
    data: folder of the data sets.
    images: number of them, with and without guidance.
    steps: of the sampler.
    guidance: of the guided images.
    clusters: of patches.
    epochs: of the judge.
  """
  method, state, _ = loading.load(workdir)
  channels = method.config.space.channels
  real, known = _real(method, "train")
  judge = _Judge(real, known, epochs)
  generates = needed(method, "generates")
  labels = np.arange(images) % len(method.dataset.class_names)
  found = dict(experiment.summary(workdir, data))
  for name, weight in (("plain", 1.0), ("guided", guidance)):
    drawn = generates.generate(
      state, {"guidance": weight, "steps": steps}, parallel.key(0), images
    )
    found[name] = judge.figures(drawn[..., :channels], labels)
  names = "load_entropy", "smallest_share", "margin"
  found["routing"] = {n: found["metrics"].get(n, 0.0) for n in names}
  found["routing"]["information"] = _information(method, state, real, clusters)
  return found


def _real(method: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
  """Images of a split, as the network sees them, and their labels."""
  rows = [
    (batch["image"][batch["valid"]], batch["label"][batch["valid"]])
    for batch in method.stream(split).batches()
  ]
  images, labels = (np.concatenate(x) for x in zip(*rows, strict=True))
  return images[..., : method.config.space.channels], labels


def _information(
  method: Any, state: Any, real: np.ndarray, clusters: int
) -> float:
  """Nats that a patch's expert tells of its cluster; see `measured`."""
  net = method.network
  if net.rule is None:
    return 0.0
  from sklearn.cluster import KMeans

  side = net.transformer.patch
  kmeans = KMeans(clusters, n_init=4, random_state=0)
  kmeans.fit(_patches(real, side))
  cluster = kmeans.predict(_patches(_real(method, "test")[0], side))
  rows = [
    made["experts"][batch["valid"]]
    for batch, made in parallel.each(
      functools.partial(_experts, method),
      state,
      method.stream("test").batches(),
    )
  ]
  experts = np.concatenate(rows)  # images, times, layers, tokens
  experts = np.moveaxis(experts, 0, 2).reshape(*experts.shape[1:3], -1)
  each = [_mutual(cluster, of) for of in experts.reshape(-1, len(cluster))]
  return float(np.mean(each))


def _patches(images: np.ndarray, side: int) -> np.ndarray:
  """Square patches in the order of tokens: [n*l side*side*c]."""
  n, height, width, channels = images.shape
  cells = height // side, side, width // side, side
  x = images.reshape(n, *cells, channels) / 255
  return np.moveaxis(x, 2, 3).reshape(-1, side * side * channels)


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
