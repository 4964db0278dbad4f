"""Tiny archives in the layouts of CUB-200-2011, Stanford Cars and Dogs."""

import io
import tarfile
import zipfile

import numpy as np
from PIL import Image
import scipy.io

KINDS = ("folder", "tar", "tgz", "zip")


def jpeg(seed, width=20, height=16):
  """An encoded image."""
  draw = np.random.default_rng(seed)
  content = io.BytesIO()
  pixels = draw.integers(0, 256, (height, width, 3), np.uint8)
  Image.fromarray(pixels).save(content, "JPEG", quality=95)
  return content.getvalue()


def pixels(content):
  return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


def pack(folder, tree, kind, name="set"):
  """Writes {path: bytes} (None: an empty folder) as a folder or an archive."""
  if kind == "folder":
    for path, content in tree.items():
      place = folder / name / path
      (place if content is None else place.parent).mkdir(
        parents=True, exist_ok=True
      )
      if content is not None:
        place.write_bytes(content)
    return str(folder / name)
  place = folder / f"{name}.{kind}"
  if kind == "zip":
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as file:
      for path, content in tree.items():
        file.writestr(f"{path}/" if content is None else path, content or b"")
    return str(place)
  with tarfile.open(place, "w:gz" if kind == "tgz" else "w") as file:
    for path, content in tree.items():
      member = tarfile.TarInfo(path)
      if content is None:
        member.type = tarfile.DIRTYPE
      member.size = len(content or b"")
      file.addfile(member, io.BytesIO(content or b""))
  return str(place)


BIRDS = ("001.Black_footed_Albatross", '002.L"Auk_<b>é')
# Box of each image of CUB, as in its list.
BOXES = ((2.0, 3.0, 10.0, 9.0), (0.0, 0.0, 20.0, 16.0), (5.9, 1.2, 4.0, 30.0))


def cub(each=3):
  """Three images of each of two species; the last of each is for testing."""
  tree, lists = {}, {k: [] for k in ("images", "labels", "split", "boxes")}
  locations = []
  for label, bird in enumerate(BIRDS, 1):
    for i in range(each):
      number, name = len(lists["images"]) + 1, f"{bird}/{bird[4:]}_{i}.jpg"
      tree[f"CUB_200_2011/images/{name}"] = jpeg(number)
      lists["images"].append(f"{number} {name}")
      lists["labels"].append(f"{number} {label}")
      lists["split"].append(f"{number} {int(i < each - 1)}")
      box = " ".join(map(str, BOXES[i % len(BOXES)]))
      lists["boxes"].append(f"{number} {box}")
      for part in (1, 2):
        place = f"{number + part}.0 {number}.5 {int(part == 1)}"
        locations.append(f"{number} {part} {place}")
  text = {
    "images.txt": lists["images"],
    "image_class_labels.txt": lists["labels"],
    "train_test_split.txt": lists["split"],
    "bounding_boxes.txt": lists["boxes"],
    "classes.txt": [f"{n} {bird}" for n, bird in enumerate(BIRDS, 1)],
    "parts/parts.txt": ["1 back", "2 left eye"],
    "parts/part_locs.txt": locations,
  }
  lines = {
    f"CUB_200_2011/{name}": "\n".join([*rows, ""]).encode()
    for name, rows in text.items()
  }
  return {"attributes.txt": b"1 has_bill", **tree, **lines}


def mat(**variables):
  """A file of Matlab."""
  content = io.BytesIO()
  scipy.io.savemat(content, variables)
  return content.getvalue()


def cars():
  """Archive -> its files: two models, three and two images."""
  kinds = [(f"bbox_{edge}", object) for edge in ("x1", "y1", "x2", "y2")]
  kinds += [("class", object), ("fname", object)]

  def rows(count):
    found = np.zeros((1, count), kinds)
    for i in range(count):
      found[0, i] = (1 + i, 2, 12, 14, 1 + i % 2, f"{i + 1:05d}.jpg")
    return found

  names = np.array([["AM General Hummer SUV 2000", "Aston's é"]], object)
  return {
    "cars_train": {f"cars_train/{i:05d}.jpg": jpeg(i) for i in (1, 2, 3)},
    "cars_test": {f"cars_test/{i:05d}.jpg": jpeg(10 + i) for i in (1, 2)},
    "car_devkit": {
      "devkit/cars_meta.mat": mat(class_names=names),
      "devkit/cars_train_annos.mat": mat(annotations=rows(3)),
    },
    "labels": {"cars_test_annos_withlabels.mat": mat(annotations=rows(2))},
  }


def annotation(*boxes):
  """Annotation of an image of Stanford Dogs."""
  edges = ("xmin", "ymin", "xmax", "ymax")
  objects = "".join(
    "<object><name>Pug</name><bndbox>"
    + "".join(f"<{e}>{v}</{e}>" for e, v in zip(edges, box, strict=True))
    + "</bndbox></object>"
    for box in boxes
  )
  return f"<annotation>{objects}</annotation>".encode()


def dogs():
  """Archive -> its files: two breeds, one of them with two dogs."""
  names = [
    f"n0{k}-{b}/n0{k}_{i}"
    for k, b in enumerate(("Pug", "O'Dog"))
    for i in range(2)
  ]
  one, two = [(1, 2, 15, 13)], [(0, 0, 3, 3), (4, 4, 18, 15)]

  def listed(chosen):
    cells = np.array([[f"{n}.jpg"] for n in chosen], object)
    labels = np.array([[int(n[2]) + 1] for n in chosen])
    return mat(file_list=cells, annotation_list=cells, labels=labels)

  return {
    "images": {f"Images/{n}.jpg": jpeg(i) for i, n in enumerate(names)},
    "annotation": {
      f"Annotation/{n}": annotation(*(one if i % 2 else two))
      for i, n in enumerate(names)
    },
    "lists": {
      "train_list.mat": listed(names[::2]),
      "test_list.mat": listed(names[1::2]),
    },
  }


def pack_all(folder, archives, kind):
  """Each of the archives in one folder, packed alike or unpacked there."""
  home = folder / "all"
  home.mkdir()
  for name, tree in archives.items():
    if kind == "folder":
      pack(folder, tree, kind, "all")
    else:
      pack(home, tree, kind, name)
  return str(home)
