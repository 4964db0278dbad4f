"""The programs of docs/heatmaps.md and docs/evaluating.md run as printed."""

import re

import numpy as np
import pytest

from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("page", ["heatmaps", "evaluating"])
def test_the_programs_of_a_page_run(page):
  text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
  names = {}
  for block in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S):
    exec(compile(block, f"{page}.md", "exec"), names)
  if page == "evaluating":
    assert names["moved"].shape == (4,)
    assert names["kept"].shape == (4, 9)
    assert names["alike"].shape == (1, 4)
  shown = names["heat"] if page == "heatmaps" else names["maps"]
  assert np.isfinite(shown).all()
