import numpy as np
import pytest

from protojax.explain.inspection import Intrinsic, Threshold
from protojax.report import defect_sentences as text
from protojax.types import Box
from tests.report import inspection_fakes as fakes


def test_all_about_an_image():
  truth = np.zeros((64, 64), bool)
  truth[10, 40] = True
  prototypes = (Intrinsic(1, 0.25), Intrinsic(2, 0.75), Intrinsic(3, 0.0))
  e = fakes.inspection(truth=truth, prototypes=prototypes)
  assert text.sentence(e) == (
    "stain/003.png: defective. Score 0.410, threshold 0.250 (at most 5 % of"
    " normal images score higher). Right: labelled stain. The worst place is"
    " at the upper right, 50 to 100 % from the left and 12 to 38 % from the"
    " top; some of the marked defect is in its box. The score there (0.500) is"
    " carried mainly by contrast (62 %) and shape (30 %); saturation and"
    " texture hardly matter (4 %, 0 %); it would be higher without hue"
    " (−8 %). Its own 2 normal prototypes cover 75 % and 25 % of the image."
  )


def test_no_more_than_is_known():
  e = fakes.inspection(0.1, None, because={}, worst=None)
  assert text.sentence(e) == (
    "stain/003.png: normal. Score 0.100, threshold 0.250 (at most 5 % of"
    " normal images score higher). No place has a higher score than the others."
  )
  flat = fakes.inspection(worst_value=0.0)
  assert "score of its worst place is 0" in text.carried(flat)


@pytest.mark.parametrize(
  ("score", "kind", "said"),
  [
    (0.3, "normal", "False alarm: labelled normal"),
    (0.2, "PCB crack", "Missed: labelled PCB crack"),
    (0.2, "normal", "Right: labelled normal"),
  ],
)
def test_the_verdict_is_judged(score, kind, said):
  assert text.labelled(fakes.inspection(score, kind)) == said


@pytest.mark.parametrize(
  ("shares", "said"),
  [
    (
      {"hue": 0.3, "shape": 0.1, "contrast": 0.01},
      "is carried mainly by hue (30 %); also by shape (10 %); contrast hardly"
      " matters (1 %)",
    ),
    ({"hue": 0.06}, "is carried in part by hue (6 %)"),
    (
      {"hue": 0.04, "shape": -0.04},
      "is carried by none of the five characteristics; hue and shape hardly"
      " matter (4 %, −4 %)",
    ),
    (
      {"hue": -1.5, "texture": -0.2},
      "is carried by none of the five characteristics; it would be higher"
      " without texture (−20 %) and hue (−150 %)",
    ),
    # Neither of these is one of the five.
    (
      {"identity": 0.9, "brightness": 0.9},
      "is carried by none of the five characteristics",
    ),
  ],
)
def test_reasons(shares, said):
  assert text.reason(shares) == said


def test_a_control_that_is_not_zero_is_told():
  bad = fakes.inspection(because={"identity": 0.01, "hue": 0.3})
  assert "The control is 2 % where it should be 0" in text.carried(bad)
  nothing = fakes.inspection(because={"identity": float("nan"), "hue": 0.3})
  assert "not measured well" in text.carried(nothing)
  good = fakes.inspection()
  assert "control" not in text.carried(good)
  said = text.control([good, bad, nothing, fakes.inspection(because={})])
  assert "is not 0 for 2 of 3 images" in said
  assert "is 0 everywhere" in text.control([good])
  assert text.control([fakes.inspection(because={})]) == ""


@pytest.mark.parametrize(
  ("box", "said"),
  [
    (Box(0, 0, 10, 10), "at the upper left, 0 to 10 % from the left"),
    (Box(45, 45, 55, 55), "in the middle, 45 to 55 % from the left"),
    (Box(90, 40, 100, 60), "at the bottom, 40 to 60 % from the left"),
    (Box(40, 80, 60, 90), "at the right, 80 to 90 % from the left"),
    (Box(70, 0, 90, 20), "at the lower left, 0 to 20 % from the left"),
  ],
)
def test_places(box, said):
  assert text.where(box, 100).startswith(said)


def test_a_box_beside_the_defect():
  truth = np.zeros((64, 64), bool)
  truth[60, 0] = True
  said = text.place(fakes.inspection(truth=truth))
  assert said.endswith("; none of the marked defect is in its box.")


@pytest.mark.parametrize(
  ("images", "rate", "rank"), [(39, 0.05, 2), (99, 0.01, 1), (7, 0.125, 1)]
)
def test_how_well_a_rate_is_known(images, rate, rank):
  bound = text.rate_bound(Threshold(0.2, rate, images))
  assert bound > rate
  # Scores of any distribution: here uniform, where 1 - score is the rate.
  scores = np.random.default_rng(0).uniform(size=(20000, images))
  rates = 1 - np.sort(scores, axis=1)[:, -rank]
  assert (rates <= bound).mean() == pytest.approx(0.95, abs=0.005)


def test_a_threshold_in_words():
  said = text.threshold_sentence(Threshold(0.25, 0.05, 39))
  assert "0.250 was chosen on 39 normal images" in said
  assert "at most 5 % of normal images" in said
  assert "the true share is below 12 %" in said
  assert "on 1 normal image that" in text.threshold_sentence(
    Threshold(0.25, 0.5, 1)
  )


@pytest.mark.parametrize(
  ("share", "said"),
  [
    (0.0, "0 %"),
    (-1e-9, "0 %"),
    (0.0476, "4.8 %"),
    (0.005, "0.5 %"),
    (-0.014, "−1.4 %"),
    (0.0996, "10 %"),
    (0.625, "62 %"),
    (1.0, "100 %"),
  ],
)
def test_percents(share, said):
  assert text.percent(share) == said


@pytest.mark.parametrize(
  ("score", "threshold", "said"),
  [
    (0.41, 0.23, ("0.410", "0.230")),
    (0.23041, 0.23044, ("0.23041", "0.23044")),
    (0.23, 0.23, ("0.230", "0.230")),
    (123.0, 45.0, ("123", "45.0")),
    (0.00312, 0.0021, ("0.00312", "0.00210")),
  ],
)
def test_a_score_is_told_apart_from_its_threshold(score, threshold, said):
  assert text.figures(score, threshold) == said


def test_the_document_begins_with_the_worst():
  some = [fakes.inspection(s, image=f"{s}.png") for s in (0.1, 0.4, 0.3)]
  other = fakes.inspection(0.2, "normal", image="ok.png")
  parts = text.document("a run", [*some, other], ["Mind this."]).split("\n\n")
  assert parts[0] == "a run"
  assert parts[1] == (
    "2 of 4 images found defective. 0 of 1 normal images are false alarms."
    " 1 of 3 defective images were missed."
  )
  assert parts[2].startswith("The threshold 0.250 was chosen on 39")
  names = [part.split(":")[0] for part in parts[3:7]]
  assert names == ["0.4.png", "0.3.png", "ok.png", "0.1.png"]
  assert parts[7:] == ["Mind this.\n"]


def test_a_region_that_may_be_the_defect_is_told():
  assignment = np.ones((4, 4), int)
  assignment[:2] = 2
  truth = np.zeros((8, 8), bool)
  truth[:6, :4] = True  # two thirds of it in the region of prototype 2
  marked = fakes.inspection(assignment=assignment, truth=truth)
  assert text.suspicion(marked, 1) == ""
  assert text.suspicion(marked, 2) == (
    "covers 67 % of the marked defect, as if it were normal"
  )
  unmarked = fakes.inspection(assignment=assignment)
  assert "may be the defect" in text.suspicion(unmarked, 2)
  assert text.suspicion(unmarked, 1) == ""
