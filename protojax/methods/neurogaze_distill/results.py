"""Files of a finished run, in the form of the authors' README.

`metrics.json` has the scores of the test images, `metrics_NAME.json` those of
another data set, `fingerprint.json` what they rest on, and `prototypes.npz` the
bank, which other runs read with --config.teacher_prototypes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from protojax import writing
from protojax.methods.neurogaze_distill import bank_asset, grid_bank, outside
from protojax.types import State


def write(method: Any, state: State, workdir: Path) -> None:
  """Writes all of them.

  Args:
    method: of the run.
    state: its last one.
    workdir: its folder.
  """
  streams = {"": method.stream("test"), **method.external()}
  for name, data in streams.items():
    scores = outside.scored(method.network, state, data)
    file = f"metrics_{name}.json" if name else "metrics.json"
    _write(workdir / file, scores)
  bank = bank_asset.of_run(state)
  if bank is not None:
    grid_bank.write(workdir / "prototypes.npz", bank)
  _write(workdir / "fingerprint.json", fingerprint(method, bank))


def fingerprint(method: Any, bank: grid_bank.GridBank | None) -> dict[str, Any]:
  """What the scores of a run rest on: digests of its config and its bank.

  Args:
    method: of the run.
    bank: of the run.
  """
  config = method.config.to_dict()
  text = json.dumps(config, sort_keys=True)
  return {
    "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
    "prototypes_sha256": bank.digest() if bank is not None else None,
    "arm": method.config.arm,
    "switches": {
      "kd": bool(method.weights["kd"]),
      "kd_source": method.config.kd_mse.source,
      "proto": bool(method.weights["proto"]),
      "proto_target": method.config.proto_kd.target,
      "geo": bool(method.weights["geo"]),
      "bank_control": method.config.bank.control or "none",
      "synthetic_measurements": (
        method.modality.source.synthetic if method.built else None
      ),
    },
    "class_names": list(method.dataset.class_names),
    "seed": method.config.seed,
    "config": config,
  }


def _write(path: Path, content: Any) -> None:
  text = json.dumps(content, indent=2, allow_nan=False)
  with writing.replacing(path, "w") as file:
    file.write(f"{text}\n")
