"""Bars, pictures and colours of the pages of all reports."""

import base64
from importlib import resources
import io
import re

from markupsafe import Markup
import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image
import pytest

from protojax.report import page
from protojax.types import Box


def test_bars_start_at_zero_and_end_at_the_score():
  scale = page.score_range([{"hue": 3.0, "shape": -1.0, "identity": 99.0}])
  assert scale == (-1.0, 3.0)
  assert page.bar(3.0, scale) == "left:25.00%;width:75.00%"
  assert page.bar(-1.0, scale) == "left:0.00%;width:25.00%"
  assert page.bar(float("nan"), scale) == "width:0"


def test_a_bar_that_nothing_is_known_of():
  assert page.score_range([{"hue": float("nan"), "identity": 3.0}]) == (0, 1e-6)


def test_intervals_lie_on_the_scale_of_the_bars():
  scale = (-1.0, 3.0)
  assert page.span(0.0, 2.0, scale) == "left:25.00%;width:50.00%"
  assert page.span(-1.0, -1.0, scale) == "left:0.00%;width:0.00%"
  assert page.span(float("nan"), 1.0, scale) == "display:none"


def test_controls_have_no_bar():
  names = ("identity", "contrast 0.2", "identity_95", "saturation", "hue")
  assert page.ordered(names) == ["hue", "saturation", "contrast 0.2"]


def _luminance(colour):
  """Relative luminance of WCAG 2."""
  digits = colour if len(colour) == 6 else "".join(2 * c for c in colour)
  rgb = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
  linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
  return float(linear @ [0.2126, 0.7152, 0.0722])


def test_words_stand_out_from_the_page_in_light_and_dark():
  frame = resources.files("protojax.report.templates") / "page.html.jinja"
  light, dark = re.findall(r":root \{(.*?)\}", frame.read_text("utf-8"), re.S)
  for mode in (light, dark):
    colours = {
      name: _luminance(value)
      for name, value in re.findall(r"--([\w-]+): #(\w+);", mode)
    }
    for back in ("page", "card"):
      for front in ("ink", "soft", "link", "good", "bad"):
        pair = sorted((colours[back], colours[front]))
        # WCAG 2, level AA.
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (front, back)


def test_a_picture_survives_its_address():
  ramp = np.linspace(0, 255, 64).astype(np.uint8)
  picture = np.repeat(np.tile(ramp, (64, 1))[..., None], 3, axis=2)
  address = page.uri(picture)
  assert address.startswith("data:image/jpeg;base64,")
  data = base64.b64decode(address.partition(",")[2])
  found = np.asarray(Image.open(io.BytesIO(data)), int)
  assert np.abs(found - picture).max() < 8


@pytest.mark.parametrize(
  ("box", "at_least", "extent", "corner"),
  [
    (Box(8, 8, 16, 16), 1, 8, (8, 8)),
    (Box(8, 8, 16, 12), 1, 8, (8, 6)),
    (Box(8, 8, 10, 10), 8, 8, (5, 5)),
    (Box(0, 28, 2, 32), 8, 8, (0, 24)),
    (Box(0, 0, 32, 4), 1, 32, (0, 0)),
    (Box(1, 1, 2, 2), 99, 32, (0, 0)),
  ],
)
def test_a_cut_is_a_square_around_the_box(box, at_least, extent, corner):
  picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
  top, left = corner
  assert_array_equal(
    page.cut(picture, box, extent, at_least),
    picture[top : top + extent, left : left + extent],
  )
  assert page.cut(picture, box, 20, at_least).shape == (20, 20, 3)


def test_no_name_turns_the_direction_of_a_page():
  template = page.environment().from_string("<p>{{ name }}</p>{{ safe }}")
  text = template.render(
    name="a\u202egnp<b>\x1b می\u200cخواهم\n", safe=Markup("<i>x</i>")
  )
  assert text == ("<p>a\\u202egnp&lt;b&gt;\\x1b می\u200cخواهم\n</p><i>x</i>")
