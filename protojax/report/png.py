"""Pictures of explanations for other programs and for papers: PNG, lossless.

FOLDER/prototypes/prototype_3.png        the patch: the content of the box
FOLDER/prototypes/prototype_3_image.png  the training image it is from
FOLDER/prototypes/prototype_3_heat.png   that image under its similarity map
FOLDER/images/test_17_NAME.png               an image that was explained
FOLDER/images/test_17_NAME_prototype_3.png   the same under a similarity map

Numbers are those of the tables: of the prototype, and of the image in its
split. `class_report` writes them before `pictures` replaces the pictures.
"""

from pathlib import Path, PurePath
import re

import numpy as np
from PIL import Image

from protojax.explain.evidence import GlobalExplanation, LocalExplanation
from protojax.explain.picture_file import PictureOrFile
from protojax.writing import replacing

_LONGEST = 60


def of_prototype(folder: Path, e: GlobalExplanation) -> None:
  """Writes the patch of a prototype, if it has pictures.

  Raises:
    UserError: there is no room, or no right to write.
  """
  if e.patch is None or not isinstance(e.patch.picture, np.ndarray):
    return
  name = folder / "prototypes" / f"prototype_{e.prototype}"
  box = e.patch.box
  piece = e.patch.picture[box.top : box.bottom, box.left : box.right]
  _write(f"{name}.png", piece)
  _write(f"{name}_image.png", e.patch.picture)
  _write(f"{name}_heat.png", e.patch.heat)


def of_image(folder: Path, e: LocalExplanation) -> None:
  """Writes an image and its heat maps, if it is shown.

  Raises:
    UserError: there is no room, or no right to write.
  """
  stem = re.sub(r"[^\w-]+", "_", PurePath(e.image).stem, flags=re.ASCII)
  name = folder / "images" / f"{e.split}_{e.index}_{stem[:_LONGEST]}"
  _write(f"{name}.png", e.picture)
  for row in e.evidence:
    _write(f"{name}_prototype_{row.prototype}.png", row.heat)


def _write(path: str, picture: PictureOrFile | None) -> None:
  if isinstance(picture, np.ndarray):
    with replacing(Path(path), "wb") as file:
      Image.fromarray(picture).save(file, "PNG")
