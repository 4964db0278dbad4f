"""What a run of `explain.py` leaves: tables, a summary and the report.

Takes explanations one by one, so that tables grow as they come and only what
the report shows stays in memory.
"""

import contextlib
import dataclasses
import importlib.metadata
import json
from pathlib import Path
import time
from typing import Any

import numpy as np

from protojax.explain import html, perturb, tables, text
from protojax.explain.evidence import GlobalExplanation, LocalExplanation, merge
from protojax.writing import replacing

# All that a run may leave.
_FILES = (
  "global_train.csv",
  "global_test.csv",
  "local.csv",
  "local.npz",
  "prototypes.csv",
  "report.html",
  "report.txt",
  "summary.json",
)


class Output:
  """The folder of the explanations, filled while they are made.

  A context: the tables take their places when it ends without an error.
  """

  def __init__(self, folder: Path, run: Path, keep_all: bool = False) -> None:
    """Prepares to write.

    Args:
      folder: for the explanations.
      run: workdir of the run that is explained.
      keep_all: also write `local.npz`.
    """
    self.folder, self.run, self.keep_all = folder, run, keep_all
    self.images: dict[str, int] = {}
    self.written: list[Path] = []
    self._started = time.monotonic()
    self._globals: list[GlobalExplanation] = []
    self._shown: list[LocalExplanation] = []
    self._whole: list[LocalExplanation] = []
    self._counted = self._right = 0
    self._files = contextlib.ExitStack()
    self._add_row: Any = None

  def __enter__(self) -> "Output":
    self._files.__enter__()
    return self

  def __exit__(self, *error: Any) -> bool | None:
    return self._files.__exit__(*error)

  def seen(self, split: str, images: int) -> None:
    """Counts images that went through the model."""
    self.images[split] = self.images.get(split, 0) + images

  def add(self, explained: LocalExplanation | GlobalExplanation) -> None:
    """Takes an explanation in."""
    if isinstance(explained, GlobalExplanation):
      self._globals.append(explained)
      return
    if self._add_row is None:
      path = self._path("local.csv")
      self._add_row = self._files.enter_context(tables.local_table(path))
    self._add_row(explained)
    if explained.label is not None:
      self._counted += 1
      self._right += not explained.wrong
    if self.keep_all:
      self._whole.append(dataclasses.replace(explained, picture=None))
    if explained.picture is not None:
      self._shown.append(dataclasses.replace(explained, whole=None))

  def finish(self) -> dict[str, Any]:
    """Writes all that needs the end; returns what `summary.json` says.

    Files of an earlier run that this one did not write go: they would pass
    for a part of its report.
    """
    prototypes = merge(self._globals)
    for split in dict.fromkeys(s for e in prototypes for s in e.because):
      alive = {e.prototype: e.because[split] for e in prototypes if e.alive}
      tables.global_table(self._path(f"global_{split}.csv"), alive)
    # With the images alone, only the prototypes they are compared with come.
    if any(e.because for e in prototypes):
      tables.prototype_table(self._path("prototypes.csv"), prototypes)
    if self._whole:
      tables.local_arrays(
        self._path("local.npz"), self._whole, perturb.MODIFICATIONS
      )
    summary = self._summary(prototypes)
    tables.summary(self._path("summary.json"), summary)
    head = self._head(prototypes, summary)
    with replacing(self._path("report.txt")) as file:
      file.write(text.document(prototypes, self._shown))
    html.write(self._path("report.html"), head, prototypes, self._shown)
    for name in _FILES:
      path = self.folder / name
      if path not in self.written and path.is_file():
        path.unlink()
    return summary

  def _path(self, name: str) -> Path:
    self.written.append(self.folder / name)
    return self.written[-1]

  def _summary(self, prototypes) -> dict[str, Any]:
    seconds = time.monotonic() - self._started
    images = sum(self.images.values())
    return {
      "images": images,
      "seconds": round(seconds, 3),
      "images_per_second": round(images / seconds, 3),
      "images_by_split": self.images,
      # The images are changed at the size of the network's input.
      "mode": "fast",
      "modifications": dataclasses.asdict(perturb.REFERENCE),
      "importance": _overall(prototypes),
    }

  def _head(self, prototypes, summary) -> html.Run:
    alive = sum(e.alive for e in prototypes)
    copies = sum(e.duplicate_of is not None for e in prototypes)
    facts = [
      (f"Images ({split})" if split != "images" else "Images", f"{count:,}")
      for split, count in self.images.items()
    ]
    if self._counted:
      facts.append(
        ("Recognised of these", f"{self._right / self._counted:.1%}")
      )
    if any(e.because for e in prototypes):
      facts.append(("Prototypes alive", f"{alive} of {len(prototypes)}"))
      facts.append(("Duplicates", str(copies)))
    rate = summary["images_per_second"]
    facts.append(("Images per second", f"{rate:.3g}"))
    return html.Run(
      title=self.run.name,
      facts=facts,
      accuracy=_accuracy(self.run / "summary.json"),
      strengths=summary["modifications"],
      version=importlib.metadata.version("protojax"),
    )


def _overall(prototypes) -> dict[str, dict[str, float]]:
  """split -> characteristic -> mean over living prototypes, the highest first.

  Prototypes that no image is like at all have no score and are left out.
  """
  found = {}
  for split in dict.fromkeys(s for e in prototypes for s in e.because):
    scores = [e.because[split].scores for e in prototypes if e.alive]
    means = {
      name: float(np.nanmean([s[name] for s in scores]))
      for name in text.CHARACTERISTICS
      if scores and not np.isnan([s[name] for s in scores]).all()
    }
    found[split] = dict(sorted(means.items(), key=lambda item: -item[1]))
  return found


def _accuracy(path: Path) -> dict[str, float]:
  """What the run says of itself, if it is finished and has classes."""
  try:
    return json.loads(path.read_text()).get("accuracy", {})
  except (OSError, ValueError):
    return {}
