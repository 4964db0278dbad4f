"""Publishing: a run -> a folder with a model card -> the Hugging Face hub."""

import argparse
from collections.abc import Mapping
import html
import importlib.util
from pathlib import Path
import re
import tempfile
from typing import Any

from protojax import hub, installed, json_files, model, printing
from protojax.engine import checkpoint, workdir
from protojax.methods.base import able
from protojax.types import UserError
from protojax.writing import json_text, replacing

# Pictures that the card shows; the folder has all.
_SHOWN = 12
# Classes that the card names.
_NAMED = 30
_LIMITS = (
  "It knows the classes above and no others. An image of anything else gets one"
  " of them, too.",
  "Its figures are those of the data of this run. Images from another camera,"
  " place or time can be recognised less well.",
  "A prototype shows what the model compares an image with. It does not show"
  " that the comparison is right, nor that it looks at what a person would.",
  "The card is made from the files of the run. What it does not say was not"
  " measured.",
)


def run(args: argparse.Namespace) -> int:
  """Writes the folder, and sends it unless --output is given.

  Raises:
    UserError: the run cannot be published, a package is missing, or the hub
      refuses it.
  """
  name = hub.repository(args.address)
  if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,60}", args.license):
    raise UserError(
      f"--license={args.license:.80} is no name of a licence on the hub, such"
      " as apache-2.0, cc-by-4.0 or other"
    )
  if importlib.util.find_spec("safetensors") is None:
    raise UserError(
      "publish needs the package 'safetensors', which is not installed:"
      " python -m pip install 'protojax[hf]'"
    )
  client = None if args.output else hub.client("publish")
  found = model.load(args.workdir or workdir.newest(Path("runs")))
  if found.method.assets:
    raise UserError(
      f"{found.folder}: {found.config.method} stands on frozen networks"
      f" ({', '.join(found.method.assets)}) that are no part of the run, and"
      " cannot be published yet"
    )
  if client is None:
    write(found, name, args.license, Path(args.output), not args.no_pictures)
    printing.tell(f"written: {args.output}; nothing was sent")
    return 0
  with tempfile.TemporaryDirectory() as temporary:
    folder = Path(temporary)
    write(found, name, args.license, folder, not args.no_pictures)
    try:
      client.create_repo(name, private=args.private, exist_ok=True)
      client.upload_folder(repo_id=name, folder_path=str(folder))
    # Errors of the hub and of its HTTP client.
    except Exception as error:
      raise UserError(
        f"cannot publish {name}: {type(error).__name__}: {error!s:.300}"
      ) from error
  printing.tell(f'published: {name}; read it with protojax.load("hf:{name}")')
  return 0


def write(
  found: model.Model, name: str, licence: str, folder: Path, pictured: bool
) -> None:
  """Writes a folder as the hub holds it.

  Args:
    found: the run.
    name: "owner/name".
    licence: as the hub names it.
    folder: to write to.
    pictured: whether pictures of prototypes are written.

  Raises:
    UserError: the folder cannot be written to.
  """
  from safetensors.numpy import save

  state = found.state.replace(assets={})
  with replacing(folder / hub.ARRAYS, "wb") as file:
    file.write(save(checkpoint.flatten({"state": state})))
  for fact in hub.FACTS:
    path = found.folder / fact
    if path.is_file():
      content = json_files.read_json(path, Any)
      if fact == "config.json":
        content = _without_places(content)
      with replacing(folder / fact) as file:
        file.write(json_text(content, indent=2) + "\n")
  shown = _pictures(found, folder) if pictured else {}
  with replacing(folder / "README.md") as file:
    file.write(card(found, name, licence, shown))


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
  """A config without folders of the machine that it was trained on."""
  data = {**config.get("data", {})}
  if data.get("root"):
    data["root"] = "unknown"
  return {**config, "data": data, "init_from": ""}


def _pictures(found: model.Model, folder: Path) -> dict[int, str]:
  """Writes the pictures of living prototypes; number -> what it is of."""
  explains = able(found.method, "explains")
  if explains is None or explains.network is None:
    return {}
  shown = {}
  try:
    for prototype in found.prototypes:
      picture = prototype.picture if prototype.alive else None
      if picture is None:
        continue
      path = folder / "prototypes" / f"prototype_{prototype.number}.png"
      with replacing(path, "wb") as file:
        picture.save(file, "PNG")
      shown[prototype.number] = prototype.class_name
  except UserError as error:
    printing.tell(f"note: without pictures of all prototypes: {error}")
  return shown


def card(
  found: model.Model, name: str, licence: str, shown: Mapping[int, str]
) -> str:
  """The model card, in Markdown.

  Args:
    found: the run.
    name: "owner/name".
    licence: as the hub names it.
    shown: number of a prototype with a picture -> what it is of.
  """
  method, config = found.config.method, found.config
  path = found.folder / "summary.json"
  summary = json_files.read_json(path, Any) if path.is_file() else {}
  classifies = able(found.method, "classifies")
  kind = "image-classification" if classifies is not None else ""
  lines = [
    "---",
    "library_name: protojax",
    f"license: {licence}",
    *([f"pipeline_tag: {kind}"] if kind else []),
    "tags: [prototypes, interpretability, jax]",
    "---",
    f"# {_plain(name.partition('/')[2])}",
    "",
    f"A model of the method {_plain(method)}, trained with protojax. It decides"
    " by likeness to prototypes.",
    "",
    "```python",
    "import protojax as pj",
    "",
    f'model = pj.load("hf:{name}")',
    'model.predict("photo.jpg")',
    "```",
    "",
    "## Data",
    "",
    f"- data set: {_plain(config.data.get('name', 'not said'))}",
  ]
  if "image_size" in config.data:
    lines.append(f"- images: {config.data.image_size} pixels a side")
  if classifies is not None:
    names = classifies.class_names
    some = ", ".join(map(_plain, names[:_NAMED]))
    more = ", ..." if len(names) > _NAMED else ""
    lines.append(f"- {len(names)} classes: {some}{more}")
  lines += ["", "## Metrics", "", *_metrics(summary), ""]
  if shown:
    lines += ["## Prototypes", "", f"{len(shown)} of them:", ""]
    lines += [
      f"![{j}: {_plain(of)}](prototypes/prototype_{j}.png)"
      for j, of in list(shown.items())[:_SHOWN]
    ]
    lines.append("")
  lines += ["## Limits", "", *(f"- {line}" for line in _LIMITS), ""]
  versions = installed.versions(("protojax", "jax", "flax"))
  lines += [
    "## Licence",
    "",
    f"{licence}, for the weights and this page. The licences of the training"
    " images and of weights that training began with may bind them, too.",
    "",
    f"Seed {config.seed}; "
    + ", ".join(f"{package} {v}" for package, v in versions.items())
    + ".",
  ]
  return "\n".join(lines) + "\n"


def _metrics(summary: Mapping[str, Any]) -> list[str]:
  """The last metrics of the run, as a table."""
  metrics = summary.get("metrics") or {}
  if not metrics:
    return ["None were written by the run."]
  rows = [
    f"| {_plain(name)} | {value:.4g} |" for name, value in metrics.items()
  ]
  return [
    "Of the run's test split, at the end of training:",
    "",
    "| metric | value |",
    "|---|---|",
    *rows,
  ]


def _plain(text: Any) -> str:
  """Text of a user that is neither HTML nor Markdown."""
  one_line = " ".join(str(text).split())
  return re.sub(r"([\\`*_\[\]|#!])", r"\\\1", html.escape(one_line[:200]))
