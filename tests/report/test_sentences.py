import dataclasses

from numpy.testing import assert_allclose
import pytest

from protojax.explain.evidence import (
  Answer,
  Evidence,
  GlobalExplanation,
  GlobalScores,
  LocalExplanation,
  Standing,
)
from protojax.report import sentences

# Figure 1 of "This Looks Like That, Because ...".
PELICAN = {
  "contrast": 0.0639,
  "saturation": 0.5921,
  "hue": 2.2473,
  "shape": 1.0077,
  "texture": 0.7546,
  "brightness": 0.2,
  "identity": 0.0,
}
WATERTHRUSH = {
  "texture": 0.2898,
  "contrast": 0.2336,
  "shape": 0.1844,
  "hue": 0.0781,
  "saturation": -0.0808,
}


def _row(because, similarity, **changes):
  row = Evidence(
    prototype=12,
    group="White Pelican",
    similarity=similarity,
    score=similarity,
    weight=1.0,
    points=similarity,
    runner_up_weight=-0.5,
    cell=0,
    because=because,
  )
  return dataclasses.replace(row, **changes)


def _prototype(because):
  return GlobalExplanation(
    prototype=7,
    group="rose",
    alive=True,
    weight=1.5,
    duplicate_of=None,
    patch=None,
    because={"test": GlobalScores(because, 4.0, 12)},
    without_own={},
  )


def test_ranked_lists_of_figure_1():
  assert sentences.ranked(PELICAN) == (
    "Hue 2.2473, Shape 1.0077, Texture .7546, Saturation .5921, Contrast .0639"
  )
  assert sentences.ranked(WATERTHRUSH) == (
    "Texture .2898, Contrast .2336, Shape .1844, Hue .0781, Saturation -.0808"
  )


def test_important_and_unimportant():
  assert sentences.important(WATERTHRUSH) == "\n".join(
    [
      "IMPORTANT",
      "1. texture 0.28980",
      "2. contrast 0.23360",
      "3. shape 0.18440",
      "4. hue 0.07810",
      "UNIMPORTANT",
      "5. saturation -0.08080",
    ]
  )


def test_a_local_sentence_says_what_costs_most():
  assert sentences.local_sentence(_row(PELICAN, 4.0)) == (
    "This patch has a similarity of 4.00 to prototype 12; it loses most with"
    " its hue changed (2.25)."
  )
  assert sentences.local_sentence(_row({"hue": -0.1}, 1.0)).endswith(
    "; no change of a characteristic costs any of it."
  )
  assert sentences.local_sentence(_row({"contrast 0.2": 0.1}, 1.0)) == (
    "This patch has a similarity of 1.00 to prototype 12."
  )


def test_global_sentence():
  explained = dataclasses.replace(
    _prototype({}),
    because={
      "test": GlobalScores({"shape": 1.0}, 2.0, 9),
      "train": GlobalScores({"shape": float("nan")}, float("nan"), 9),
    },
  )
  assert sentences.global_sentence(explained, "test") == (
    "Over the test images, the similarity to prototype 7 is 2.00 on average."
    " Shape costs most of it (1.00)."
  )
  none = _prototype({"shape": -0.1, "hue": 0.0})
  assert sentences.global_sentence(none, "test").endswith(
    "No change of a characteristic costs any of it."
  )
  assert "No train image" in sentences.global_sentence(explained, "train")


@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize("answer", [0, 1])
@pytest.mark.parametrize("bias", [0.0, -0.256])
def test_points_as_printed_sum_to_the_logit(others, answer, bias):
  sheet = [(9.2103, 1.017, -0.2), (1.004, 0.335, 0.5), (3.0, -0.5, 1.0)]
  rows = tuple(
    _row({}, g, weight=w, points=g * w, runner_up_weight=v) for g, w, v in sheet
  )
  logits = [sum(r.points for r in rows) + bias, 2.3]
  if others:
    logits[0] += 0.777
  explained = LocalExplanation(
    image="",
    index=0,
    split="test",
    label=None,
    answers=tuple(Answer(str(i), x, 0.5, bias) for i, x in enumerate(logits)),
    evidence=rows,
    others=others,
  )
  found = sentences.scoring_sheet(explained, answer)
  total = sum(float(line.points) for line in found.rows) + float(found.others)
  assert found.bias == ("-0.26" if bias else None)
  total += float(found.bias or 0)
  assert_allclose(total, float(found.logit), atol=1e-9)
  assert found.logit == f"{logits[answer]:.2f}"
  if not answer:
    assert found.rows[0].product == "9.21 × 1.02"
    assert_allclose(explained.other_points, 0.777 if others else 0, atol=1e-9)


def test_a_runner_up_has_no_rows_without_points():
  rows = (
    _row({}, 2.0, weight=1.5, points=3.0, runner_up_weight=0.0),
    _row({}, 1.0, weight=1.0, points=1.0, runner_up_weight=0.7),
    _row({}, 0.5, weight=1.0, points=0.5, runner_up_weight=0.001),
  )
  explained = LocalExplanation(
    image="",
    index=0,
    split="test",
    label=None,
    answers=(Answer("a", 5.0, 0.9), Answer("b", 1.0, 0.1)),
    evidence=rows,
    others=4,
    silent=3,
  )
  found = sentences.scoring_sheet(explained, 1)
  assert [(r.product, r.points) for r in found.rows] == [
    ("1.00 × 0.70", "0.70")
  ]
  assert (found.silent, found.spoken, found.others) == (2, 4, "0.30")
  found = sentences.scoring_sheet(explained)
  assert (len(found.rows), found.silent, found.spoken) == (3, 3, 1)


def test_document_says_all_there_is_to_read():
  names = ("contrast", "saturation", "hue", "shape", "texture")
  because = dict(zip(names, (0.1, -0.2, 2.0, 0.5, 0.0), strict=True))
  row = Evidence(
    prototype=7,
    group="rose",
    similarity=4.0,
    score=4.0,
    weight=1.5,
    points=6.0,
    runner_up_weight=-0.5,
    cell=3,
    because=because,
  )
  image = LocalExplanation(
    image="a.jpg",
    index=0,
    split="test",
    label="rose",
    answers=(Answer("rose", 7.25, 0.9),),
    evidence=(row,),
    others=2,
  )
  prototype = dataclasses.replace(
    _prototype(because), notes={"kind": "support", "boundary distance": 0.286}
  )
  dead = dataclasses.replace(prototype, prototype=8, alive=False)
  assert (
    sentences.document([prototype, dead], [image])
    == """\
Prototype 7: rose
kind support, boundary distance 0.29
Over the test images, the similarity to prototype 7 is 4.00 on average. Hue\
 costs most of it (2.00).
IMPORTANT
1. hue 2.00000
2. shape 0.50000
3. contrast 0.10000
4. texture 0.00000
UNIMPORTANT
5. saturation -0.20000

a.jpg: rose, probability 0.900, logit 7.25
6.00 = 4.00 × 1.50: prototype 7 (rose); Hue 2.0000, Shape .5000,\
 Contrast .1000, Texture .0000, Saturation -.2000
1.25 from 2 other prototypes
"""
  )


SMOOTH = {
  "identity": 0.0,
  "texture": 0.5,
  "less texture": 0.1,
  "more texture": 0.5,
  "saturation": 0.3,
  "less saturation": 0.3,
  "more saturation": -0.1,
  "hue": 0.01,
  "hue forward": 0.01,
  "hue back": 0.0,
}


def test_words_keep_the_direction_of_a_side():
  assert sentences.local_sentence(_row(SMOOTH, 1.0)) == (
    "This patch has a similarity of 1.00 to prototype 12; it loses most with"
    " grain added (0.50), because it is smooth."
  )
  found = sentences.weighed(SMOOTH, 1.0)
  assert found.mainly == [("smoothness", 0.5), ("strong colours", 0.3)]
  assert found.hardly == [("hue", 0.01)]
  pale = {**SMOOTH, "saturation": 0.9, "more saturation": 0.9, "texture": 0.1}
  explained = dataclasses.replace(
    _prototype(pale),
    usual="shape",
    stands_out="saturation",
    standings={"saturation": Standing(97.0, 91.0, 99.0)},
  )
  assert sentences.global_sentence(explained, "test") == (
    "Over the test images, the similarity to prototype 7 is 4.00 on average."
    " Saturation costs most of it (0.90), because it is pale; for most it is"
    " shape. What stands out is saturation, because it is pale: it costs more"
    " than for 97 % of the prototypes (91 to 99 % with other images of the"
    " kind)."
  )
  # Over the last split alone.
  both = {"train": GlobalScores(pale, 4.0, 12), **explained.because}
  explained = dataclasses.replace(explained, because=both)
  assert sentences.global_sentence(explained, "train").endswith(
    "average. Saturation costs most of it (0.90), because it is pale."
  )
