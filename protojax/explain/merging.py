"""Merges what several splits say of prototypes: one explanation for each."""

from collections.abc import Iterable
import dataclasses

from protojax.explain.evidence import GlobalExplanation, Patch


def merge(
  explanations: Iterable[GlobalExplanation],
) -> tuple[GlobalExplanation, ...]:
  """Merges the explanations of several splits: one for each prototype."""
  merged: dict[int, GlobalExplanation] = {}
  for new in explanations:
    old = merged.get(new.prototype)
    if old is not None:
      new = dataclasses.replace(
        new,
        patch=_better(old.patch, new.patch),
        because={**old.because, **new.because},
        without_own={**old.without_own, **new.without_own},
        nearest={**old.nearest, **new.nearest},
        redundant_with=old.redundant_with or new.redundant_with,
      )
    merged[new.prototype] = new
  return tuple(merged[i] for i in sorted(merged))


def _better(old: Patch | None, new: Patch | None) -> Patch | None:
  """The patch with pictures, or the only patch."""
  if old is None or (new is not None and old.picture is None):
    return new
  return old
