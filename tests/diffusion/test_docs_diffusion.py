"""docs/diffusion.md: its sessions run as they are printed."""

import doctest
import re

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_sessions_give_what_they_print():
  text = (ROOT / "docs" / "diffusion.md").read_text("utf-8")
  blocks = re.findall(r"^```pycon\n(.*?)^```$", text, re.M | re.S)
  session = doctest.DocTestParser().get_doctest(
    "".join(blocks), {}, "diffusion.md", None, 0
  )
  assert len(session.examples) > 20
  assert not doctest.DocTestRunner().run(session).failed
