"""Prototypes of pixels, learned from few labelled images and many others.

Two streams, one of them in two views; a ramp; a teacher (an average of the
parameters); a queue of features; a term of the whole batch; a frozen lens.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from protojax import parallel
from protojax.datasets.dataset import Dataset
from protojax.engine import memory
from protojax.engine.assets import Asset
from protojax.engine.stage import Fit, Pass, epochs
from protojax.engine.terms import Aux, Term, of_whole_batch
from protojax.explain import blocks
from protojax.methods.base import Capabilities
from protojax.prototypes.groups import CLASS, Groups
from protojax.types import State

WIDTH, GRID, EACH = 8, 8, 2
QUEUE, DECAY, TEMPERATURE = 32, 0.9, 0.2
HIGHEST = jax.lax.Precision.HIGHEST


def lens(seed):
  """A fixed projection of colours."""
  return {"kernel": jax.random.normal(parallel.key(seed), (3, WIDTH))}


class Explainer:
  """One explanation for each image: where which prototype is near."""

  scopes = ("local",)
  report = "block_report"
  network = None

  def __init__(self, method):
    self._method = method

  def stale(self, state):
    """Never: prototypes are not pushed."""
    del state
    return False

  def explain(self, state, data, request):
    """Explanations in blocks, in the order of the images."""
    names = self._method.pixel_names
    batches = data.spread(request.limit)
    for batch, rows in parallel.each(self._method.predict, state, batches):
      for i in np.flatnonzero(batch["valid"]):
        index = int(batch["index"][i])
        picture = blocks.Picture(data.examples([index])["image"][0])
        found = np.bincount(rows["classes"][i].ravel(), minlength=len(names))
        near = rows["near"][i].astype(np.float32)
        yield blocks.Explanation(
          key=f"image-{index}",
          title=data.source.name(index),
          scope="local",
          split=request.split,
          subject=data.source.name(index),
          blocks=(
            blocks.Map(near, 0.0, float(near.max()), over=picture),
            blocks.Table(
              ("class", "cells"), tuple(zip(names, found.tolist(), strict=True))
            ),
          ),
        )
      request.progress(int(batch["valid"].sum()))


class Pixelwise:
  """The classes of pixels."""

  def __init__(self, method):
    self.class_names = method.pixel_names


class Whole:
  """The classes of images."""

  def __init__(self, method):
    self.class_names = method.dataset.class_names
    self.groups = Groups(CLASS, self.class_names)


class Method:
  """The toy, as its config says."""

  splits = ("train", "test")
  capabilities = Capabilities(
    classifies=Whole, segments=Pixelwise, explains=Explainer
  )

  def __init__(self, config, class_names=None):
    self.config = config
    self.dataset = Dataset(
      config.data, config.seed, config.batch_size, class_names
    )

  @property
  def pixel_names(self):
    """Background, and the classes of the images."""
    return ("background", *self.dataset.class_names)

  @functools.cached_property
  def assets(self):
    """The lens, which is random and so is kept."""
    make = functools.partial(lens, self.config.seed)
    return {"lens": Asset(make, lambda: jax.eval_shape(make), kept=True)}

  def init(self, key):
    """Random prototypes; the teacher begins as the pupil."""
    keys = jax.random.split(key, 2)
    count = EACH * len(self.pixel_names)
    params = {
      "body": {"kernel": jax.random.normal(keys[0], (WIDTH, WIDTH)) * 0.5},
      "bank": {"vectors": jax.random.normal(keys[1], (count, WIDTH))},
    }
    return State(
      params=params,
      statistics={},
      buffers={"class_of": jnp.arange(count) // EACH},
      memory={
        "teacher": params,
        "queue": memory.Queue.empty(QUEUE, WIDTH)._asdict(),
      },
    )

  def stream(self, split):
    """The images of a split in source order."""
    return self.dataset.ordered(split)

  def stages(self):
    """One sweep, and one stage of gradient descent."""
    yield Pass("measure", self.measure, self.stream("train"))
    labelled = self.dataset.shuffled("flip", rows=range(12))
    others = self.dataset.shuffled(
      views={"weak": "crop,flip", "strong": "weak+colour"},
      labels=np.full(24, -1, np.int32),
    )
    yield Fit(
      "teach",
      self.loss,
      {"labelled": labelled, "others": others},
      optax.sgd(0.05, momentum=0.9),
      epochs(self.config.epochs),
      after_step=self.after_step,
    )

  def measure(self, state, data):
    """The mean feature of the training images becomes their shift."""
    pooled = [
      rows[batch["valid"]]
      for batch, rows in parallel.each(self._pooled, state, data.batches())
    ]
    mean = np.concatenate(pooled).mean(axis=0)
    return state.replace(statistics={}), {"mean": float(np.abs(mean).mean())}

  def _pooled(self, state, batch):
    return self.features(state.params, state, batch["image"]).mean((1, 2))

  def features(self, params, state, images):
    """Cells of two by two pixels: [b h w d]."""
    x = jnp.asarray(images, jnp.float32) / 255 - 0.5
    b, size = len(x), x.shape[1] // GRID
    x = x.reshape(b, GRID, size, GRID, size, 3).mean((2, 4))
    kernel = state.assets["lens"]["kernel"]
    x = jnp.tanh(jnp.matmul(x, kernel, precision=HIGHEST))
    x = jnp.matmul(x, params["body"]["kernel"], precision=HIGHEST)
    return jnp.tanh(x)

  def dense(self, params, state, images):
    """Logits of each cell [b h w k]; its nearest prototype decides."""
    z = self.features(params, state, images)[..., None, :]
    vectors = params["bank"]["vectors"][None, None, None]
    apart = jnp.sum((z - vectors) ** 2, axis=-1)
    by_class = apart.reshape(*apart.shape[:-1], -1, EACH)
    return -by_class.min(-1)

  def loss(self, params, state, batch, now):
    """Pixels, images, agreement of the views, and contrast."""
    labelled, others = batch["labelled"], batch["others"]
    logits = self.dense(params, state, labelled["image"])
    step = labelled["classes"].shape[1] // GRID
    wanted = labelled["classes"][:, ::step, ::step]
    known = wanted != 255
    entropy = optax.softmax_cross_entropy_with_integer_labels(
      logits, jnp.where(known, wanted, 0)
    )
    boxed = labelled["boxes"]["valid"].sum()

    teacher = state.memory["teacher"]
    weak = self.dense(teacher, state, others["weak"]["image"])
    strong = self.dense(params, state, others["strong"]["image"])
    pseudo = jax.lax.stop_gradient(jnp.argmax(weak, axis=-1))
    sure = jax.lax.stop_gradient(jax.nn.softmax(weak).max(-1) > 0.4)
    agree = optax.softmax_cross_entropy_with_integer_labels(strong, pseudo)

    pooled = self.features(params, state, labelled["image"]).mean((1, 2))
    z, labels = parallel.gather((pooled, labelled["label"]))
    same = labels[:, None] == labels[None]
    alike = jnp.matmul(z, z.T, precision=HIGHEST)
    contrast = jnp.mean((alike - same) ** 2)

    queue = memory.Queue(**state.memory["queue"])
    far = jnp.matmul(pooled, queue.rows.T, precision=HIGHEST)
    far = jnp.sum(jnp.where(queue.filled[None], jax.nn.relu(far), 0.0))
    queued = memory.enqueue(queue, pooled)._asdict()
    terms = {
      "pixels": Term(jnp.sum(jnp.where(known, entropy, 0)), jnp.sum(known)),
      "agreement": Term(
        jnp.sum(jnp.where(sure, agree, 0)), jnp.sum(sure), now.share
      ),
      "contrast": of_whole_batch(contrast, 0.1),
      "queue": Term(far, len(pooled) * QUEUE, 0.1),
    }
    metrics = {
      "boxes": Term(boxed, len(pooled)),
      "unlabelled": Term(jnp.sum(others["weak"]["label"] < 0), len(pooled)),
    }
    kept = {**state.memory, "queue": queued}
    return terms, Aux(memory=kept, metrics=metrics)

  def after_step(self, state):
    """The teacher follows."""
    teacher = memory.ema(state.memory["teacher"], state.params, DECAY)
    return state.replace(memory={**state.memory, "teacher": teacher})

  def predict(self, state, batch):
    """Logits and probabilities of images; classes of cells."""
    dense = self.dense(state.params, state, batch["image"])
    logits = dense[..., 1:].max((1, 2))
    return {
      "logits": logits,
      "probabilities": jax.nn.softmax(logits),
      "classes": jnp.argmax(dense, axis=-1),
      "near": jnp.exp(dense.max(-1)),
    }

  def evaluate(self, state, split):
    """Accuracy of images and of cells."""
    right, cells, count = 0, [], 0
    for batch, rows in parallel.each(
      self.predict, state, self.stream(split).batches()
    ):
      valid = batch["valid"]
      answers = np.argmax(rows["logits"], axis=1)
      right += int(np.sum((answers == batch["label"])[valid]))
      count += int(valid.sum())
      wanted = batch["classes"][:, ::2, ::2]
      cells.append(np.mean(rows["classes"][valid] == wanted[valid]))
    return {"accuracy": right / count, "cells": float(np.mean(cells))}

  def summary(self, state, stages):
    """Nothing more than the metrics of the last stage."""
    del state
    return {"headline": "cells", "stages_done": len(stages)}
