"""Prints a plan: two tables and what they rest on, in one screen."""

from rich.table import Table

from protojax.console import Console
from protojax.engine.plan import Plan, Stage

_NOTES = (
  "GFLOP, moved, held: of one step on one device. GFLOP are those of products"
  " and convolutions. Moved are the bytes read and written, held are the most"
  " that are in memory at once, with parameters, moments and batch: estimates.",
  "moments: of the optimiser, on one device. rows: of frozen layers, in memory"
  " of the host; the images are then read once. A stage without steps is a"
  " sweep. After each stage the test images are measured.",
)
_OPEN = (
  "At least: {} loops that end by a condition count once, as nobody knows how"
  " often they run."
)


def show(plan: Plan, console: Console | None = None) -> None:
  """Prints the plan in plain English."""
  console = console or Console()
  each = plan.batch_size / plan.devices
  console.print(
    f"{plan.method} on {_many(plan.devices, 'device')}:"
    f" {_many(plan.batch_size, 'example')} a step, {each:g} on each device."
    " Planned from shapes, as for GPU and TPU; nothing of the run is allocated"
    " or written."
  )
  for why in dict.fromkeys(plan.missing.values()):
    names = ", ".join(k for k, v in plan.missing.items() if v == why)
    # The text of a message is not markup.
    console.print(f"not there: {names}: {why}")
  if plan.assumed:
    console.print(f"taken for true of the missing data: {plan.assumed}")
  console.print()
  console.print(_groups(plan))
  console.print()
  console.print(_stages(plan))
  console.print()
  steps = sum(stage.steps for stage in plan.stages)
  work = sum(s.steps * s.cost.flops for s in plan.stages if s.cost)
  console.print(
    f"in all {steps:,} steps, {_short(work / 1e12)} TFLOP a device; sweeps"
    " and cached rows come on top"
  )
  for note in _NOTES:
    console.print(note)
  open_loops = (s.cost.open_loops for s in plan.stages if s.cost)
  if loops := max(open_loops, default=0):
    console.print(_OPEN.format(loops))


def _groups(plan: Plan) -> Table:
  table = Table(
    "group",
    "parameters",
    "MB a device",
    "gradients in",
    box=None,
    pad_edge=False,
  )
  names = {stage.id: stage.id.split("-", 1)[1] for stage in plan.stages}
  for group in plan.groups:
    # Rounds repeat their stages.
    stages = dict.fromkeys(names[stage] for stage in group.trained)
    table.add_row(
      group.name,
      f"{group.count:,}",
      _mega(group.size),
      ", ".join(stages) or "no stage: frozen, or set by sweeps",
    )
  table.add_row("other state", "", _mega(plan.rest), "no stage")
  for name, size in plan.assets.items():
    table.add_row(f"asset {name}", "", _mega(size), "no stage")
  count = sum(group.count for group in plan.groups)
  size = sum(group.size for group in plan.groups)
  size += plan.rest + sum(plan.assets.values())
  table.add_row("all", f"{count:,}", _mega(size), "")
  return _right(table, 1, 2)


def _stages(plan: Plan) -> Table:
  table = Table(
    "stage",
    "epochs",
    "steps",
    "images",
    "GFLOP",
    "moved\nGB",
    "held\nGB",
    "moments\nMB",
    "rows\nMB",
    box=None,
    pad_edge=False,
  )
  table.columns[0].no_wrap = True
  table.columns[0].max_width = 17  # All fits into 80 letters then.
  for stage in plan.stages:
    table.add_row(stage.id, *_figures(stage))
  return _right(table, *range(1, 9))


def _figures(stage: Stage) -> tuple[str, ...]:
  if stage.cost is None:
    return "", "", _count(stage.images), "", "", "", "", ""
  return (
    f"{stage.epochs:g}",
    f"{stage.steps:,}",
    _count(stage.images),
    _giga(stage.cost.flops),
    _giga(stage.cost.touched),
    _giga(stage.cost.held),
    _short(stage.optimizer / 1e6),
    _short(stage.rows / 1e6) if stage.rows else "",
  )


def _right(table: Table, *columns: int) -> Table:
  for column in columns:
    table.columns[column].justify = "right"
    table.columns[column].no_wrap = True
  return table


def _short(count: float) -> str:
  """Three digits, or all before the point."""
  return f"{count:,.0f}" if count >= 100 else f"{count:.3g}"


def _giga(count: float | int) -> str:
  return _short(count / 1e9) if count > 1e7 else "< 0.01"


def _mega(size: int) -> str:
  return f"{size / 1e6:,.1f}"


def _count(images: int) -> str:
  return f"{images:,}" if images < 1e6 else f"{images / 1e6:,.4g} M"


def _many(count: int, what: str) -> str:
  return f"{count:,} {what}{'s' * (count != 1)}"
