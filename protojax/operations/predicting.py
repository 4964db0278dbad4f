"""Predicting: images -> classes, anomalies or masks, with reasons."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
import functools
from pathlib import Path
from typing import Any

import numpy as np

from protojax import loading, parallel, printing
from protojax.console import Console
from protojax.csv_files import Writer
from protojax.data import stream as stream_lib
from protojax.datasets import files
from protojax.engine import log, workdir
from protojax.explain import familiarity
from protojax.methods.base import needed
from protojax.operations import label_files, mask_files, volume_masks
from protojax.prototypes.bank import bank_of
from protojax.types import State, UserError
from protojax.writing import json_text, opened, require_apart

_CLASSIFIED = (
  "image",
  "class",
  "probability",
  "rank",
  "prototype",
  "prototype_class",
  "similarity",
  "points",
  "familiarity",
)
_TAGGED = ("image", "label", "probability", "rank", "present")
_DETECTED = ("image", "score", "threshold", "defective")
_SEGMENTED = ("image", "class", "share")
_LOCATED = ("image", "class", "score", "top", "left", "bottom", "right")
# Score of an object that is said.
_FOUND = 0.3


def run(args: argparse.Namespace) -> int:
  """Writes the predictions to stdout or a file, and the progress to stderr.

  Raises:
    UserError: there is no run or no image, or the file cannot be written,
      or is one of the images.
  """
  parallel.setup()
  # Asked for at the end, when the run is loaded.
  masked = mask_files.writer(args.masks, lambda: answers.class_names)
  labelled = label_files.writer(args.labels, lambda: answers, _FOUND)
  with opened(args.output) as file, masked as masks, labelled as labels:
    folder = Path(args.workdir or workdir.newest(Path("runs")))
    method, state, config = loading.load(folder)
    answers = needed(method, *_ANSWERS)
    loading.require_living(method, state)
    kind = next(k for k in _ANSWERS if getattr(method.capabilities, k))
    if args.masks and kind != "segments":
      raise UserError(
        f"--masks={args.masks}: {config.method} gives no class to each pixel"
      )
    if args.labels and kind != "localises":
      raise UserError(
        f"--labels={args.labels}: {config.method} finds no objects in boxes"
      )
    describe, columns, as_rows = _ANSWERS[kind]
    loading.image_size(config)  # Refuses a method without images first.
    if kind == "inspects":
      answers.threshold(state)  # Fails before the first line is written.
    source = volume_masks.opened(config, args.paths)
    if source is None:
      source = files.images(*args.paths)
      given = (*source.names, *(n for n, _ in source.skipped))
    else:
      given = tuple(args.paths)
    require_apart(args.output, given)
    # train.py writes this file last.
    if not (folder / "summary.json").exists():
      printing.tell(f"note: {folder} is not trained to its end")
    for name, reason in source.skipped:
      printing.tell(f"skipped {name}: {reason}")

    stream = loading.stream(config, source)
    describe = functools.partial(describe, answers, state, top=args.top)
    known = None
    if kind == "classifies":
      known = familiarity.read(folder)
      describe = functools.partial(describe, known=known)
    found = predictions(method, state, stream, describe, masks or labels)
    found = _one_by_one(found, len(source))
    found = _with_a_word(found, known)
    if args.format == "json":
      file.write(json_text(list(found), indent=2) + "\n")
    else:
      writer = Writer(file, lineterminator="\n")
      writer.row(columns)
      for one in found:
        writer.rows(as_rows(one))
  printing.tell(f"images: {len(source)}, skipped: {len(source.skipped)}")
  return 0


def predictions(
  method: Any,
  state: State,
  stream: stream_lib.Stream,
  describe: Callable[[Mapping[str, Any]], dict[str, Any]],
  masks: Callable[..., None] | None = None,
) -> Iterator[list[dict[str, Any]]]:
  """The results of each batch of a stream, in its order.

  Args:
    method: its `predict` gives the rows that `describe` reads.
    state: of the model.
    stream: the images.
    describe: row -> the result of an image.
    masks: (stream, index, row of the method) -> nothing, writes files.
  """
  for batch, rows in parallel.each(method.predict, state, stream.batches()):
    found = []
    for i in np.flatnonzero(batch["valid"]):
      row = {name: value[i] for name, value in rows.items()}
      name = stream.source.name(int(batch["index"][i]))
      found.append({"image": name, **describe(row)})
      if masks is not None:
        masks(stream, int(batch["index"][i]), row)
    yield found


def _classified(classifies, state, row, top, known) -> dict[str, Any]:
  names, shares = classifies.class_names, row["probabilities"]
  best, percentile = int(np.argmax(shares)), None
  if known is not None:
    percentile = _number(np.float32(known.of_row(row, state)))
  return {
    "class": names[best],
    "probability": _number(shares[best]),
    "probabilities": dict(zip(names, map(_number, shares), strict=True)),
    "familiarity": percentile,
    "unfamiliar": None if known is None else familiarity.unfamiliar(percentile),
    "prototypes": _prototypes(row, state, classifies.groups.names, top),
  }


def _tagged(tags, state, row, top) -> dict[str, Any]:
  del state
  names, shares = tags.class_names, row["probabilities"]
  order = np.argsort(-shares, kind="stable")
  present = int((shares > tags.threshold).sum())
  return {
    "labels": [
      {
        "label": names[k],
        "probability": _number(shares[k]),
        "present": rank < present,
      }
      for rank, k in enumerate(order[: max(top, present)])
    ],
    "probabilities": dict(zip(names, map(_number, shares), strict=True)),
  }


def _detected(inspects, state, row, top) -> dict[str, Any]:
  del top
  threshold = inspects.threshold(state).value
  return {
    "score": _number(row["score"]),
    "threshold": _number(np.float32(threshold)),
    # As in explanations, a score that is NaN counts as defective.
    "defective": not row["score"] <= threshold,
  }


def _segmented(segments, state, row, top) -> dict[str, Any]:
  del state, top
  names = segments.class_names
  counts = np.bincount(row["classes"].ravel(), minlength=len(names))
  shares = counts / counts.sum()
  return {
    "shares": {
      names[k]: _number(shares[k])
      for k in np.argsort(-shares, kind="stable")
      if counts[k]
    }
  }


def _located(localises, state, row, top) -> dict[str, Any]:
  del state, top
  boxes = row["boxes"] / localises.image_size
  return {
    "objects": [
      {
        "class": localises.class_names[int(row["classes"][i])],
        "score": _number(row["scores"][i]),
        "box": [_number(x) for x in boxes[i]],
      }
      for i in np.flatnonzero(row["scores"] >= _FOUND)
    ]
  }


def _prototypes(row, state, names, top) -> list[dict[str, Any]]:
  if "points" not in row:
    return []
  bank = bank_of(state)
  alive = np.flatnonzero(bank.alive)
  order = alive[np.argsort(-row["similarities"][alive], kind="stable")]
  return [
    {
      "prototype": int(j),
      "class": names[bank.class_of[j]],
      "similarity": _number(row["similarities"][j]),
      "points": _number(row["points"][j]),
    }
    for j in order[:top]
  ]


def _number(value: np.floating) -> float:
  # A float32 has no more digits.
  return float(f"{value:.8g}")


def _classified_rows(one: dict[str, Any]) -> Iterator[tuple]:
  image = one["image"], one["class"], one["probability"]
  known = "" if one["familiarity"] is None else one["familiarity"]
  for rank, prototype in enumerate(one["prototypes"], 1):
    yield (*image, rank, *prototype.values(), known)
  if not one["prototypes"]:
    yield (*image, "", "", "", "", "", known)


def _tagged_rows(one: dict[str, Any]) -> Iterator[tuple]:
  for rank, label in enumerate(one["labels"], 1):
    shown = label["label"], label["probability"], rank, int(label["present"])
    yield (one["image"], *shown)


def _detected_rows(one: dict[str, Any]) -> Iterator[tuple]:
  yield one["image"], one["score"], one["threshold"], int(one["defective"])


def _segmented_rows(one: dict[str, Any]) -> Iterator[tuple]:
  for name, share in one["shares"].items():
    yield one["image"], name, share


def _located_rows(one: dict[str, Any]) -> Iterator[tuple]:
  for found in one["objects"]:
    yield (one["image"], found["class"], found["score"], *found["box"])


def _with_a_word(
  found: Iterable[dict[str, Any]], known: familiarity.Familiarity | None
) -> Iterator[dict[str, Any]]:
  """The results; then says on stderr how many images are unfamiliar."""
  count = 0
  for one in found:
    count += bool(one.get("unfamiliar"))
    yield one
  if known is not None and count:
    printing.tell(
      f"unlike the images the model knows: {count}. {known.promise()}"
    )


def _one_by_one(
  batches: Iterable[list[dict[str, Any]]], total: int
) -> Iterator[dict[str, Any]]:
  """The results one by one, with a progress bar on stderr."""
  with log.bar(Console(stderr=True)) as bar:
    task = bar.add_task("predict", total=total, note="")
    for batch in batches:
      yield from batch
      bar.advance(task, len(batch))


# Capability -> function that makes a result, columns, function that makes rows.
_ANSWERS = {
  "classifies": (_classified, _CLASSIFIED, _classified_rows),
  "tags": (_tagged, _TAGGED, _tagged_rows),
  "inspects": (_detected, _DETECTED, _detected_rows),
  "segments": (_segmented, _SEGMENTED, _segmented_rows),
  "localises": (_located, _LOCATED, _located_rows),
}
