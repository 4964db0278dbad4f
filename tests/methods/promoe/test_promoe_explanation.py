"""What is told of an image and of each expert, from the numbers of routing."""

import json

import numpy as np
import pytest

from protojax import methods
from protojax.configs import promoe_folder
from protojax.explain import blocks
from protojax.explain.request import Request
from protojax.methods.promoe import pages
from protojax.methods.promoe.explanation import Experts
from protojax.modify import presets

COUNT, EXPERTS, TOKENS = 6, 3, 16
PRESET = presets.load("contrast=0.45", "fast", "none")
REQUEST = Request(preset=PRESET, nearest=2)


@pytest.fixture(scope="module")
def experts():
  return Experts(methods.load(promoe_folder.get_config("debug")))


@pytest.fixture(scope="module")
def data(experts):
  return experts.method.stream("test")


@pytest.fixture(scope="module")
def found(data):
  """Of six images of two classes: all tokens of a class go to one expert."""
  rng = np.random.default_rng(0)
  index = np.arange(COUNT)
  label = np.int32([4, 4, 4, 7, 7, 7])
  chosen = np.zeros((COUNT, TOKENS, EXPERTS + 1), np.float32)
  chosen[:3, :, 0] = chosen[3:, :, 2] = 1
  names = len(PRESET.names)
  return {
    "index": index,
    "label": label,
    "chosen": chosen,
    "similarity": np.float32(rng.normal(size=(COUNT, EXPERTS))),
    "cell": rng.integers(0, TOKENS, (COUNT, EXPERTS)),
    "delta": np.float32(rng.normal(size=(COUNT, names, EXPERTS))),
  }


def of(explanation, kind):
  return [block for block in explanation.blocks if isinstance(block, kind)]


def test_an_expert_is_told_by_its_nearest_patches(experts, data, found):
  _, *each = experts.overall(data, REQUEST, found)
  assert [e.subject for e in each] == ["expert 1", "expert 2", "expert 3"]
  for j, explanation in enumerate(each):
    (gallery,) = of(explanation, blocks.Gallery)
    nearest = np.argsort(-found["similarity"][:, j])[:2]
    for i, picture in zip(nearest, gallery.pictures, strict=True):
      value = found["similarity"][i, j]
      assert picture.caption == f"{data.source.name(int(i))}: {value:.3f}"
      (frame,) = picture.boxes
      row, column = divmod(int(found["cell"][i, j]), 4)
      assert tuple(frame.box) == (
        *(2 * row, 2 * column),
        *(2 * row + 2, 2 * column + 2),
      )
    (table,) = of(explanation, blocks.Table)
    own = found["chosen"][..., j].any(axis=1)
    delta = found["delta"][:, :, j]
    for m, (name, near, every) in enumerate(table.rows):
      assert name == PRESET.names[m]
      assert near == pytest.approx(delta[nearest, m].mean())
      assert every == pytest.approx(delta[own, m].mean() if own.any() else 0)


def test_the_load_of_experts_and_the_share_of_each_class(experts, data, found):
  overview, first, second, _ = experts.overall(data, REQUEST, found)
  (load,) = of(overview, blocks.Table)
  assert [share for _, share in load.rows] == [0.5, 0, 0.5, 0]
  assert load.rows[-1][0] == "unconditional expert"
  (usage,) = of(overview, blocks.Matrix)
  expected = np.zeros((10, EXPERTS + 1))
  expected[4, 0] = expected[7, 2] = 1
  np.testing.assert_array_equal(usage.values, expected)
  (said,) = of(first, blocks.Sentence)
  assert "50.0% of the patches" in said.text
  assert "send it most of theirs: 4." in said.text
  (said,) = of(second, blocks.Sentence)
  assert "send it most of theirs: none." in said.text


def test_an_image_lists_the_experts_that_it_uses(experts, found):
  row = {name: value[4] for name, value in found.items()}
  table = experts._table(row, PRESET)
  ((expert, tokens, similarity, *deltas),) = table.rows
  assert (expert, tokens) == (3, TOKENS)
  assert similarity == found["similarity"][4, 2]
  np.testing.assert_array_equal(deltas, found["delta"][4, :, 2])


def test_the_page_has_the_load_of_layers_and_how_it_came_about(
  experts, tmp_path
):
  log = tmp_path / "metrics.jsonl"
  events = (
    {"split": "train", "step": 10, "load_entropy": 0.5, "margin": 0.1},
    {"split": "test", "step": 10, "load_entropy": 0.7},
    {"split": "train", "step": 20, "load_entropy": 0.9, "margin": 0.3},
  )
  log.write_text("".join(json.dumps(event) + "\n" for event in events))
  (curve,) = pages._curve(log)
  found = {s.name: (s.x.tolist(), s.y.tolist()) for s in curve.series}
  assert found == {
    "load entropy": ([10, 20], [0.5, 0.9]),
    "margin": ([10, 20], [0.1, 0.3]),
  }
  counts = np.float32([[6, 6, 6], [12, 0, 4]])
  even, uneven = pages._loads(counts).rows
  assert even == pytest.approx((1, 1, 1, 1 / 3, 1 / 3, 1 / 3))
  entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(3)
  assert uneven == pytest.approx((2, entropy, 0, 0.75, 0, 0.25))
  usage = np.zeros((2, 10, EXPERTS + 1))
  usage[0, 4] = 3, 1, 0, 0
  first, _ = pages._classes(experts.method, usage)
  assert first.values[4].tolist() == [0.75, 0.25, 0]
  assert not first.values[:4].any()
