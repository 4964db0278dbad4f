"""Packages that protojax needs: which are missing, and their versions."""

from collections.abc import Iterable
import importlib.metadata
import importlib.util
from pathlib import Path
import shlex

from protojax import __version__
from protojax.errors import UserError

# Module -> the package that brings it, for those of pyproject.toml that every
# command needs.
_NEEDED = {
  "jax": "jax",
  "flax": "flax",
  "optax": "optax",
  "orbax": "orbax-checkpoint",
  "tensorflow_datasets": "tensorflow-datasets",
  "importlib_resources": "importlib_resources",
  "grain": "grain",
  "ml_collections": "ml_collections",
  "numpy": "numpy",
  "PIL": "pillow",
  "yaml": "pyyaml",
  "scipy": "scipy",
  "jaxtyping": "jaxtyping",
  "jinja2": "jinja2",
  "rich": "rich",
  "tensorboardX": "tensorboardX",
}


def require() -> None:
  """Requires all packages that commands need, none of which is imported.

  A clone that was never installed lacks them, some of which are not needed
  before the end of a training.

  Raises:
    UserError: some are missing.
  """
  missing = [
    package
    for module, package in _NEEDED.items()
    if importlib.util.find_spec(module) is None
  ]
  if missing:
    raise UserError(
      f"not installed: {', '.join(missing)}, which protojax needs: python -m"
      f" pip install {_what()}"
    )


def _what() -> str:
  """What to install: the clone that this is, or the package."""
  root = Path(__file__).parents[1]
  if (root / "pyproject.toml").exists():
    return f"-e {shlex.quote(f'{root}[demo]')}"
  return "protojax"


def versions(packages: Iterable[str]) -> dict[str, str]:
  """The versions of packages; "unknown" for those without metadata."""
  return {name: _version(name) for name in packages}


def _version(name: str) -> str:
  # A clone need not be installed.
  if name == "protojax":
    return __version__
  try:
    return importlib.metadata.version(name)
  except importlib.metadata.PackageNotFoundError:
    return "unknown"
