"""What an experiment is: a file of benchmarks/experiments.

It declares

  QUESTION  what the experiment answers, in one line
  ARMS      name -> (config file, {key of the config: value})
  FIGURES   name -> its place in what a run is measured to: "accuracy.last"
  SEEDS     of each arm

and, where a run's summary.json does not say it all,

  MEASURE   (folder of the run, folder of the data sets, **SETTINGS) -> what
            FIGURES are places in; None: the arm has no such figure
  SETTINGS  what the figures rest on beside the config
  BEFORE    (arm, folder of the data sets): makes what the arm is trained on,
            where it does not stand; called before each run
  TABLE     {arm: {seed: figures}} -> rows of the table; by default a row for
            each arm, with means and deviations (of a sample) over the seeds

`data.root` of an arm is the name of a data set, a folder in --data.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import functools
import hashlib
import json
from pathlib import Path
import runpy
import statistics
from typing import Any

from scipy import special

from benchmarks import harness
from protojax import configuration, methods

ROOT = Path(__file__).parents[1]
_FOLDER = ROOT / "benchmarks" / "experiments"

# What the figures of a run rest on beside its method and its config, and what
# they rest on besides if MEASURE judges the run.
_CODE = tuple(
  f"protojax/{name}"
  for name in (
    *("backbones", "data", "datasets", "engine", "layers"),
    *("losses", "metrics", "prototypes"),
  )
)
_JUDGED = tuple(
  f"protojax/{name}" for name in ("evaluation", "explain", "heat", "modify")
)
# Of some methods only.
_SHARED = tuple(f"protojax/{name}" for name in ("diffusion", "text"))

Figures = Mapping[str, float | None]
# Arm -> seed -> its figures.
Found = Mapping[str, Mapping[int, Figures]]


def summary(workdir: Path, data: Path) -> Mapping[str, Any]:
  """What a run says of itself at its end."""
  del data
  return json.loads((workdir / "summary.json").read_text())


def nothing(arm: str, data: Path) -> None:
  """Makes nothing: all that an arm is trained on is there."""
  del arm, data


def means(found: Found) -> Iterator[harness.Row]:
  """A row for each arm: how many seeds, mean and deviation of each figure."""
  for arm, of_seeds in found.items():
    spreads = {
      name: "" if None in values else harness.spread(values)
      for name, values in columns(of_seeds).items()
    }
    yield {"arm": arm, "seeds": len(of_seeds), **spreads}


def by_seed(found: Found) -> Iterator[harness.Row]:
  """A row for each figure of the one arm: its value by seed, and the mean."""
  (of_seeds,) = found.values()
  for name, values in columns(of_seeds).items():
    row = {"": name}
    for seed, value in zip(of_seeds, values, strict=True):
      row[f"seed {seed}"] = f"{value:.3f}" if value < 10 else f"{value:g}"
    yield {**row, "mean": harness.spread(values)}


def paired(
  found: Found, base: Callable[[str], str], title: str, figure: str = "accuracy"
) -> Iterator[harness.Row]:
  """The rows of `means`, and a figure less that of another arm, by seed.

  Args:
    found: figures by arm and seed.
    base: arm -> the arm that it is compared with.
    title: of the last column: the mean of the differences and, of several, its
      interval of 95 % by Student's t.
    figure: that is compared.
  """
  for row in means(found):
    arm = row["arm"]
    other = {} if base(arm) == arm else found.get(base(arm), {})
    apart = [
      x[figure] - other[seed][figure]
      for seed, x in found[arm].items()
      if seed in other
    ]
    yield {**row, title: interval(apart)}


def interval(apart: Sequence[float]) -> str:
  """Mean of differences and, of several, its interval of 95 %."""
  if not apart:
    return ""
  mean = statistics.mean(apart)
  if len(apart) == 1:
    return f"{mean:+.3f}"
  half = special.stdtrit(len(apart) - 1, 0.975) * statistics.stdev(apart)
  half /= len(apart) ** 0.5
  return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"


def columns(of_seeds: Mapping[int, Figures]) -> dict[str, list[float]]:
  """Name of a figure -> its values, seed by seed."""
  names = next(iter(of_seeds.values()))
  return {name: [x[name] for x in of_seeds.values()] for name in names}


@dataclasses.dataclass(frozen=True)
class Experiment:
  """What a file declares; see above."""

  name: str
  question: str
  arms: Mapping[str, tuple[str, Mapping[str, Any]]]
  figures: Mapping[str, str]
  seeds: Sequence[int]
  measure: Callable[..., Mapping[str, Any]] = summary
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  before: Callable[[str, Path], None] = nothing
  table: Callable[[Found], Iterable[harness.Row]] = means

  def arguments(self, arm: str, seed: int, data: Path = Path()) -> list[str]:
    """Those of train.py for one run, but for its workdir.

    Args:
      arm: its name.
      seed: of the run.
      data: folder of the data sets.
    """
    file, changes = self.arms[arm]
    if "data.root" in changes:
      changes = {**changes, "data.root": data / changes["data.root"]}
    keys = [f"--config.{key}={value}" for key, value in changes.items()]
    return [f"--config={file}", *keys, f"--config.seed={seed}"]

  def digest(self, arm: str, seed: int) -> str:
    """16 hexadecimal digits that identify what the figures of a run rest on."""
    config = {**_config(*self.arguments(arm, 0)), "seed": seed}
    parts = [config, dict(self.figures), dict(self.settings)]
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

  def rests_on(self) -> list[str]:
    """Files and folders of the code that its figures rest on."""
    found = dict.fromkeys(_CODE if self.measure is summary else _CODE + _JUDGED)
    for arm, (file, _) in self.arms.items():
      found[file.partition(":")[0]] = None
      method = _config(*self.arguments(arm, 0))["method"]
      found |= dict.fromkeys(_of_method(method))
    return list(found)


@functools.cache
def _of_method(name: str) -> list[str]:
  """A method's folder, and the shared ones that it alone imports."""
  folder = f"protojax/methods/{name}"
  text = "".join(p.read_text() for p in sorted((ROOT / folder).rglob("*.py")))
  return [folder, *(x for x in _SHARED if x.replace("/", ".") in text)]


@functools.cache
def _config(file: str, *keys: str) -> dict[str, Any]:
  """Dotted keys of a config -> their values, as they are now.

  A key that the config got later is left out while it changes nothing.
  """
  config = configuration.load(str(ROOT / file.partition("=")[2]), keys)
  flat = _flat(config.to_dict())
  for key, value in methods.later(config.method).items():
    if flat.get(key) == value:
      del flat[key]
  return flat


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  flat = {}
  for key, value in tree.items():
    if isinstance(value, Mapping):
      flat.update(_flat(value, f"{prefix}{key}."))
    else:
      flat[prefix + key] = value
  return flat


def names(folder: Path = _FOLDER) -> list[str]:
  """The experiments that there are."""
  return sorted(path.stem for path in folder.glob("*.py"))


def load(name: str, folder: Path = _FOLDER) -> Experiment:
  """The experiment of a file."""
  declared = runpy.run_path(str(folder / f"{name}.py"))
  fields = [field.name for field in dataclasses.fields(Experiment)][1:]
  found = {x: declared[x.upper()] for x in fields if x.upper() in declared}
  return Experiment(name, **found)
