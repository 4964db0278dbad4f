"""TCSA-UDA as a method: what reaches what, and what its config may say."""

import dataclasses
import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_array_equal
import pytest

from configs import tcsa_uda_folder
from protojax import methods, parallel
from protojax.engine import descent
from protojax.engine import stage as stages
from protojax.engine.stage import Fit
from protojax.engine.terms import Now
from protojax.explain import blocks
from protojax.explain.request import Request
from protojax.methods.tcsa_uda import image_evidence
from protojax.methods.tcsa_uda.objective import Objective
from protojax.modify import presets
from protojax.types import State, UserError
from tests import starts

ADVERSARIES = ("adversary", "auxiliary_adversary")


def load(variants="debug", **keys):
  config = tcsa_uda_folder.get_config(variants).unlock()
  config.update_from_flattened_dict(keys)
  return methods.load(config)


def fits(method):
  return [s for s in method.stages() if isinstance(s, Fit)]


def sizes(tree):
  """Largest absolute value of each group of parameters."""
  return {
    name: max(float(jnp.abs(x).max()) for x in jax.tree.leaves(group))
    for name, group in tree.items()
  }


TERMS = ("telling", "fooling", "relation", "centres")


# Of a network that compiles soon, with all parts.
SMALL = {
  "batch_size": 2,
  "data.image_size": 32,
  "backbone.widths": (4, 8),
  "auxiliary.level": "up_1",
  "adversary.layers": 1,
}


@pytest.fixture(scope="module")
def gradients():
  """Of some terms, by name: the largest gradient of each group."""
  method = load(**SMALL)
  objective = Objective(
    method.network, method.config, method.words.relations, True
  )
  (_, fit) = fits(method)
  now = Now(jax.random.key(0), jnp.int32(2), jnp.float32(0.9))
  batches = {n: next(s.batches(0, 1)) for n, s in fit.streams.items()}
  state = starts.begun(method.init)

  def step(state, batch):
    def totals(params):
      terms, _ = objective(params, state, batch, now)
      return jnp.stack(
        [
          sum(t.total for n, t in terms.items() if n.startswith(name))
          for name in TERMS
        ]
      )

    _, pull = jax.vjp(totals, state.params)
    # One program for all of them.
    return jax.lax.map(lambda one: pull(one)[0], jnp.eye(len(TERMS)))

  # As on one device, which compiles sooner than two.
  one = jax.vmap(step, (None, 0), axis_name=parallel.mapped.AXIS)
  made = jax.jit(one)(state, jax.tree.map(lambda x: x[None], batches))
  made = jax.device_get(made)
  return {
    name: sizes(jax.tree.map(lambda x, i=i: x[:, i], made))
    for i, name in enumerate(TERMS)
  }


def test_gradients_of_adversary_and_segmentation_never_cross(gradients):
  for name, size in gradients["telling"].items():
    assert (size > 0) == (name in ADVERSARIES), name
  for name in ADVERSARIES:
    assert gradients["fooling"][name] == 0
  for name in ("backbone", "decoder", "head", "auxiliary"):
    assert gradients["fooling"][name] > 0


def test_relations_and_centres_reach_the_encoder(gradients):
  """In the detached mode nothing does: `test_relations`."""
  assert gradients["relation"]["backbone"] > 0
  assert gradients["relation"]["decoder"] > 0
  assert gradients["centres"]["backbone"] > 0
  # Centres are those of the backbone's features.
  assert gradients["centres"]["decoder"] == 0


LABELS = """
import numpy as np
from protojax.datasets import digit_domains

class Poisoned:
  def __init__(self, whole, poisoned):
    self.whole, self.poisoned = whole, poisoned
    self.fields, self.class_names = whole.fields, whole.class_names
    self.skipped, self.labels = whole.skipped, whole.labels
  def __len__(self):
    return len(self.whole)
  def name(self, i):
    return self.whole.name(i)
  def __getitem__(self, i):
    found = dict(self.whole[i])
    if self.poisoned:
      found["mask"] = np.full(found["mask"].shape, np.nan)
    return found

def load(data, split, seed):
  whole = digit_domains.load(data, split, seed)
  hidden = data.domain == "target" and split == "train"
  return Poisoned(whole, hidden)
"""


def test_no_label_of_the_target_enters_training(tmp_path, monkeypatch):
  """Its masks are NaN, which no training would survive."""
  (tmp_path / "tcsa_poison").mkdir()
  (tmp_path / "tcsa_poison" / "masks.py").write_text(LABELS)
  monkeypatch.syspath_prepend(tmp_path)
  found = []
  for name in ("digit_domains", "tcsa_poison.masks"):
    method = load(**{"data.name": name})
    target = method.target.source("train")
    assert set(target.fields) == {"image"}
    assert set(target[0]) == {"image", "name"}
    _, fit = fits(method)
    batches = {n: next(s.batches(0, 1)) for n, s in fit.streams.items()}
    assert set(batches["target"]) == {"image", "index", "valid"}
    found.append(batches)
  for stream, name in itertools.product(("source", "target"), ("image",)):
    assert_array_equal(found[0][stream][name], found[1][stream][name])
  assert not np.array_equal(
    found[0]["source"]["image"], found[0]["target"]["image"]
  )
  for name in [n for n in sys.modules if n.startswith("tcsa_poison")]:
    del sys.modules[name]


@pytest.mark.slow
def test_training_moves_what_it_should():
  """Two steps: all but the prototypes, and the centres are kept."""
  method = load(**SMALL)
  _, fit = fits(method)
  state = jax.device_get(jax.jit(method.init)(parallel.init_key(0)))
  short = dataclasses.replace(fit, length=stages.steps(2))
  moments = fit.optimizer.init(state.params)
  updates = list(descent.fit(short, state, moments, parallel.key(0)))
  after: State = parallel.to_host(updates[-1].state)
  for name, group in state.params.items():
    same = all(
      np.array_equal(a, b)
      for a, b in zip(
        jax.tree.leaves(group), jax.tree.leaves(after.params[name]), strict=True
      )
    )
    assert same == (name == "prototypes"), name
  assert np.any(after.memory["source"]["known"])
  assert np.any(after.memory["target"]["vectors"])
  metrics = updates[-1].metrics
  assert {
    "pixels",
    "dice_loss",
    "fooling",
    "relation_source",
    "centres",
  } <= set(metrics)
  assert np.isfinite([float(x) for x in metrics.values()]).all()
  kept = after.memory["history"]
  assert (kept >= 0).any()


def test_arms_have_their_terms():
  for variant, wanted in (
    ("source,debug", set()),
    ("adversarial,debug", {"adversary"}),
  ):
    method = load(variant, **SMALL)
    state = jax.eval_shape(method.init, parallel.init_key(0))
    assert ("adversary" in state.params) == bool(wanted)


def test_each_domain_can_have_averages_of_its_own():
  """Those of the source move by its images alone, and answer for it alone."""
  keys = {"data.image_size": 16, "backbone.widths": (4,), "adversary.layers": 1}
  method = load(
    **keys,
    **{
      "auxiliary.level": "",
      "adversary.weight": 0.0,
      "decoder.norm": "batch",
      "backbone.norm_by_domain": True,
    },
  )
  network = method.network
  state = jax.device_get(jax.jit(method.init)(parallel.init_key(0)))
  images = np.random.default_rng(0).uniform(0, 255, (2, 2, 16, 16, 3))
  source, target = np.float32(images)

  def step(state, batch):
    seen, found = network.see_both(
      state.params, state.statistics, batch["source"], batch["target"]
    )
    return seen.logits, found

  program = parallel.pmap(step, in_axes=(None, 0), out_axes=(0, None))
  batch = parallel.shard({"source": source, "target": target})
  _, moved = jax.device_get(program(state, batch))
  own = moved.pop("source")
  before = state.statistics["backbone"]
  for after, other in ((own, moved), (moved, own)):
    means = [jax.tree.leaves(x["backbone"]) for x in (after, other)]
    assert any((a != b).any() for a, b in zip(*means, strict=True))
    pairs = zip(means[0], jax.tree.leaves(before), strict=True)
    assert any((a != b).any() for a, b in pairs)
  after = state.replace(statistics={**moved, "source": own})
  assert network.of_source(after).statistics is own
  # With the same images for both, both move alike.
  _, moved = jax.device_get(
    program(state, parallel.shard({"source": source, "target": source}))
  )
  own = moved.pop("source")
  for a, b in zip(*map(jax.tree.leaves, (own, moved)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_selective_entropy_is_a_term_of_the_second_stage():
  method = load(
    **{
      "data.image_size": 16,
      "backbone.widths": (4,),
      "auxiliary.level": "",
      "adversary.weight": 0.0,
      "entropy.weight": 0.5,
      "entropy.views": 1,
    }
  )
  state = jax.eval_shape(method.init, parallel.init_key(0))
  now = Now(jax.random.key(0), jnp.int32(0), jnp.float32(0.5))
  (_, fit) = fits(method)
  batch = {n: next(s.batches(0, 1)) for n, s in fit.streams.items()}
  one = jax.tree.map(lambda x: np.asarray(x)[None], batch)
  mapped = jax.vmap(
    lambda s, b: parallel.pmean(fit.loss(s.params, s, b, now)[0]),
    in_axes=(None, 0),
    axis_name=parallel.mapped.AXIS,
  )
  assert "selective" in jax.eval_shape(mapped, state, one)


def test_words_can_make_a_convolution_of_each_image():
  method = load(**SMALL, **{"text.kind": "tfidf", "text.conditioning": True})
  state = jax.eval_shape(method.init, parallel.init_key(0))
  kernel = state.params["conditioning"]["kernel"]["kernel"]
  # From 8 channels to 128, and a bias.
  assert kernel.shape == (512, 8 * 128 + 128)
  assert state.params["head"]["hidden"]["kernel"].shape == (1, 1, 128, 8)
  images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.uint8)
  found = jax.eval_shape(
    lambda s, x: method.network.answers(s, {"image": x}), state, images
  )
  assert found["classes"].shape == (2, 32, 32)


@pytest.mark.slow
def test_the_papers_network_has_its_parts():
  """ResNet-101, 2048-d centres, 256-d embeddings, two adversaries."""
  config = tcsa_uda_folder.get_config("paper")
  method = methods.load(config, tuple(map(str, range(5))))
  state = jax.eval_shape(method.init, parallel.init_key(0))
  count = {
    name: sum(x.size for x in jax.tree.leaves(tree))
    for name, tree in state.params.items()
  }
  # torchvision's ResNet-101 without its classifier.
  assert count["backbone"] == 42_500_160
  widths = (2048, 1024, 512, 256, 128, 256)
  decoder = sum(9 * a * b + 2 * b for a, b in itertools.pairwise(widths))
  assert count["decoder"] == decoder
  assert count["head"] == 256 * 64 + 64 + 64 * 5 + 5
  assert count["auxiliary"] == 4 * (9 * 1024 * 5 + 5)
  layers = (5, 64, 128, 256, 512, 1)
  patch = sum(16 * a * b + b for a, b in itertools.pairwise(layers))
  patch += 2 * (128 + 256 + 512)
  assert count["adversary"] == count["auxiliary_adversary"] == patch
  assert state.memory["source"]["vectors"].shape == (5, 2048)
  assert state.memory["words"]["vectors"].shape == (5, 256)
  assert method.network.grid == (33, 33)


@pytest.mark.parametrize(
  ("keys", "message"),
  [
    ({"relations.mode": "cosine"}, "choose relation, copt, gram_parity"),
    ({"text.kind": "clip"}, "choose tfidf, encoder, array, matrix, strokes"),
    ({"text.kind": "matrix"}, "matrix needs a file"),
    (
      {"text.kind": "strokes", "text.conditioning": True},
      "conditioning needs vectors of words",
    ),
    ({"backbone.norm_by_domain": True}, "norm=group: choose batch"),
    ({"optimizer.kind": "adam"}, "choose adamw, sgd"),
    ({"adapt.patience": 3}, "needs images to validate on"),
    ({"adapt.ramp": 2.0}, "adapt.ramp is 2.0"),
  ],
)
def test_what_cannot_run_is_refused(keys, message):
  with pytest.raises(UserError, match=message) as error:
    load(**keys)
  assert "\n" not in str(error.value)


def test_only_source_images_are_validated_on():
  method = load(**{"data.validation_fraction": 0.25, "adapt.patience": 2})
  (_, fit) = fits(method)
  assert fit.patience == 2
  assert fit.monitor == ("dice", "max")
  assert all(
    method.stream("validation").source.name(i).startswith("source")
    for i in range(3)
  )
  assert method.stream("test").source.name(0).startswith("target")


def test_what_is_said_of_an_image():
  """From numbers that a network might give; nothing is compiled."""
  method = load()
  network, data = method.network, method.stream("test")
  k, (h, w) = network.classes, network.grid
  rng = np.random.default_rng(0)
  cells = np.zeros((h, w), np.int32)
  cells[:2] = 3
  request = Request(
    scope="both", preset=presets.load("reference", "fast", "none")
  )
  count = len(request.preset.names)
  row = {
    "grey": np.asarray(True),
    "classes": np.repeat(np.repeat(cells, 8, 0), 8, 1),
    "cells": cells,
    "cosines": rng.uniform(-1, 1, (h, w, k)),
    "similarity": rng.uniform(size=k),
    "place": rng.integers(0, h * w, k),
    "delta": rng.normal(size=(count, k)),
    "agrees": np.asarray(0.5),
  }
  found = image_evidence.image(network, data, request, 0, row)
  tables = {b.caption: b for b in found.blocks if isinstance(b, blocks.Table)}
  because = tables["Classes answered, and because of what"]
  names = [line[0] for line in because.rows]
  # The largest first; of a grey image two characteristics are left out.
  assert names == ["background", "two"]
  for line in because.rows:
    left_out = [
      name
      for name, cell in zip(because.columns, line, strict=True)
      if cell is None
    ]
    assert sorted(left_out) == ["hue", "saturation"]
  maps = [b for b in found.blocks if isinstance(b, blocks.Map)]
  assert len(maps) == 2
  np.testing.assert_allclose(maps[1].values, row["cosines"][..., 3], rtol=1e-6)
  assert any(
    "hue" in b.text for b in found.blocks if isinstance(b, blocks.Note)
  )
