"""Special pages of the report: test volumes, slice by slice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protojax.report import volume_page
from protojax.report.special_pages import Page
from protojax.types import State


def pages(method: Any, state: State, workdir: Path) -> Iterator[Page]:
  """One page, if the test images are slices of volumes."""
  del workdir
  return volume_page.pages(method, state)
