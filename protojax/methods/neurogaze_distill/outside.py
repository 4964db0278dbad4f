"""Scores on a split, and on other data sets with some of the classes."""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

from jaxtyping import Float, Int
from ml_collections import ConfigDict
import numpy as np

from protojax import parallel
from protojax.data.source import Source, Subset
from protojax.data.stream import Stream
from protojax.datasets import dataset, emotions
from protojax.methods.neurogaze_distill.network import Network
from protojax.metrics import present_classes
from protojax.prototypes import distance
from protojax.types import Batch, PyTree, State, UserError


def sources(
  config: ConfigDict, class_names: Sequence[str]
) -> dict[str, Source]:
  """The other data sets that a config names, with our classes.

  Args:
    config: of the run; `external.sets` has entries such as "ckplus=ck.csv": a
      name, and the split to open; or the split alone.
    class_names: of the student.

  Raises:
    UserError: one is not there, or has a class that the student has not.
  """
  c, found = config.external, {}
  for entry in c.sets:
    name, _, split = entry.rpartition("=")
    name = name or split
    if name in found:
      raise UserError(f"--config.external.sets names {name!r} twice")
    data = ConfigDict(config.data.to_dict())
    data.update(
      name=c.name or data.name,
      root=c.root or data.root,
      test=split,
      class_map=c.class_map,
      validation_fraction=0.0,
    )
    opened = dataset.open_split(data, "test", config.seed)
    found[name] = of_classes(opened, class_names, name)
  return found


def of_classes(
  source: Source, class_names: Sequence[str], title: str
) -> Source:
  """The source with its labels renumbered by name.

  Raises:
    UserError: it has examples of a class that is not among `class_names`.
  """
  ours = {_word(name): k for k, name in enumerate(class_names)}
  labels = np.asarray(source.labels)
  number = np.full(len(source.class_names), -1, np.int32)
  for k, name in enumerate(source.class_names):
    number[k] = ours.get(_word(name), -1)
  used = np.unique(labels[labels >= 0])
  if strange := [source.class_names[k] for k in used if number[k] < 0]:
    raise UserError(
      f"{title} has the class {strange[0]!r}; the student has"
      f" {', '.join(class_names)}: rename it, or give its own class map with"
      " --config.external.class_map"
    )
  moved = np.where(labels < 0, -1, number[np.maximum(labels, 0)])
  rows = np.arange(len(source), dtype=np.int32)
  return Subset(source, rows, moved.astype(np.int32), tuple(class_names))


def _word(name: str) -> str:
  """A name as it is compared: emotions have several."""
  return emotions.known(name) or name


def figures(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
  """The scores as metrics of a log."""
  (every, present) = scores.values()
  return {
    "accuracy": every["acc"],
    "macro_f1": every["macro_f1"],
    "bacc": every["bacc"],
    "present_macro_f1": present["macro_f1"],
    "present_bacc": present["bacc"],
  }


def scored(
  network: Network, state: State, data: Stream
) -> dict[str, Mapping[str, Any]]:
  """`present_classes.scores` of a stream."""
  classes = len(network.class_names)
  counts = np.zeros((classes, classes), np.int64)
  step = functools.partial(_answer, network)
  for batch, rows in parallel.each(step, state, data.batches()):
    kept = batch["valid"]
    counts += present_classes.confusion(
      np.asarray(batch["label"])[kept], rows["answer"][kept], classes
    )
  return present_classes.scores(counts, network.class_names)


def _answer(network: Network, state: State, batch: Batch) -> PyTree:
  return {"answer": network.answers(state, batch)["logits"].argmax(axis=1)}


def class_variance(
  network: Network, state: State, data: Stream
) -> dict[str, float]:
  """V_c of each class of a stream about its own mean, of unit features."""
  step = functools.partial(_unit, network)
  found, labels = [], []
  for batch, rows in parallel.each(step, state, data.batches()):
    found.append(rows["unit"][batch["valid"]])
    labels.append(np.asarray(batch["label"])[batch["valid"]])
  return _variance(
    np.concatenate(found), np.concatenate(labels), network.class_names
  )


def _unit(network: Network, state: State, batch: Batch) -> PyTree:
  pooled, _ = network.pooled(
    state.params, state.statistics, batch["image"], train=False
  )
  # Of the classifier's own features: arms without the bank have no other.
  return {"unit": distance.direction(pooled)}


def _variance(
  features: Float[np.ndarray, "n d"],
  labels: Int[np.ndarray, " n"],
  class_names: Sequence[str],
) -> dict[str, float]:
  return {
    name: float(((own - own.mean(axis=0)) ** 2).sum(axis=1).mean())
    for k, name in enumerate(class_names)
    if len(own := features[labels == k])
  }


def summary(method: Any, state: State) -> dict[str, Any]:
  """The scores of the test images and of other data sets; facts of the bank.

  Args:
    method: of the run.
    state: its last one.
  """
  network, test = method.network, method.stream("test")
  scores = scored(network, state, test)
  others = {
    name: scored(network, state, data)
    for name, data in method.external().items()
  }
  variance = class_variance(network, state, test)
  wanted = method.config.d_geo.positive_classes
  compact = [x for name, x in variance.items() if name in wanted]
  found: dict[str, Any] = {
    "headline": "macro_f1",
    "test": figures(scores),
    "scores": scores,
    "external": others,
    "class_variance": variance,
    "class_names": list(network.class_names),
  }
  if compact:
    found["positive_variance"] = float(np.mean(compact))
  if others:
    means = [figures(of_set) for of_set in others.values()]
    found["external_mean"] = {
      name: float(np.mean([each[name] for each in means])) for name in means[0]
    }
  return found
