"""nuScenes: images of six cameras and objects in space (Caesar et al., 2020).

Read from the unpacked archives by the JSON tables alone:

  root/v1.0-trainval/sample.json, sample_data.json, ...   or v1.0-mini
  root/samples/CAM_FRONT/*.jpg                            and other cameras
  root/ImageSets/train.txt    names of the scenes of a split, such as scene-0061

Without ImageSets a seed divides the scenes. An example is a key frame of one
camera; its objects are moved into the camera's frame, their boxes are around
the corners of the cuboids.
"""

from collections.abc import Mapping
import dataclasses
import functools
import os
from pathlib import Path
from typing import Any, ClassVar, NotRequired, TypedDict

from jaxtyping import Float, Int32
import numpy as np

from protojax import json_files, text_files
from protojax.data import cuboids
from protojax.data import images as images_lib
from protojax.data import splits as splits_lib
from protojax.data.cuboids import Cuboids
from protojax.data.fields import Field
from protojax.datasets import driving
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
FIELDS = driving.FIELDS
# Key frames of one camera.
PUBLISHED = {"classes": 10, "train": 28_130, "test": 6_019}

# Bytes of a table; that of all images of the whole data set has a billion.
_MOST = 4 << 30

# Category -> class of the detection task; others are none.
_CLASSES: Mapping[str, str] = {
  "movable_object.barrier": "barrier",
  "movable_object.trafficcone": "traffic_cone",
  "vehicle.bicycle": "bicycle",
  "vehicle.bus.bendy": "bus",
  "vehicle.bus.rigid": "bus",
  "vehicle.car": "car",
  "vehicle.construction": "construction_vehicle",
  "vehicle.motorcycle": "motorcycle",
  "vehicle.trailer": "trailer",
  "vehicle.truck": "truck",
  **{
    f"human.pedestrian.{kind}": "pedestrian"
    for kind in ("adult", "child", "construction_worker", "police_officer")
  },
}


class _Named(TypedDict):
  token: str
  name: str


class _Sample(TypedDict):
  token: str
  scene_token: str


class _Image(TypedDict):
  sample_token: str
  ego_pose_token: str
  calibrated_sensor_token: str
  filename: str
  is_key_frame: bool
  height: int
  width: int


class _Placed(TypedDict):
  token: str
  translation: list[float]
  rotation: list[float]


class _Sensor(_Placed):
  sensor_token: str
  camera_intrinsic: list[list[float]]


class _Channel(TypedDict):
  token: str
  channel: str


class _Instance(TypedDict):
  token: str
  category_token: str


class _Annotation(TypedDict):
  sample_token: str
  instance_token: str
  translation: list[float]
  size: list[float]
  rotation: list[float]
  num_lidar_pts: NotRequired[int]
  num_radar_pts: NotRequired[int]


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
  """Key frames of a split; see `source.Source` and `driving.Driving`.

  Attributes:
    root: the folder.
    files: path of each image, below `root`.
    shapes: height and width of each.
    truth: objects of each.
    cameras: projection matrix of each.
    class_names: kinds of objects that are learnt.
    skipped: nothing.
  """

  root: str
  files: tuple[str, ...]
  shapes: tuple[tuple[int, int], ...]
  truth: tuple[Cuboids, ...]
  cameras: tuple[Float[np.ndarray, "3 4"], ...]
  class_names: tuple[str, ...]
  skipped: tuple[tuple[str, str], ...] = ()
  fields: ClassVar[Mapping[str, Field]] = FIELDS

  def __len__(self) -> int:
    return len(self.files)

  @functools.cached_property
  def labels(self) -> Int32[np.ndarray, " n"]:
    """-1 for each: an image is of no single class."""
    return np.full(len(self), -1, np.int32)

  def __getitem__(self, i: int) -> dict:
    path = os.path.join(self.root, self.files[i])
    try:
      image = images_lib.decode(path)
    except ValueError as error:
      raise UserError(f"{path} cannot be read: {error}") from error
    found = driving.example(
      image, self.truth[i], self.cameras[i], self.class_names
    )
    return {**found, "name": self.name(i)}

  def objects(self, i: int) -> Cuboids:
    """The objects that a camera sees."""
    return self.truth[i]

  def camera(self, i: int) -> Float[np.ndarray, "3 4"]:
    """Projection matrix."""
    return self.cameras[i]

  def shape(self, i: int) -> tuple[int, int]:
    """Height and width, by the tables."""
    return self.shapes[i]

  def condition(self, i: int) -> str:
    """Not known."""
    del i
    return ""

  def name(self, i: int) -> str:
    """The file."""
    return self.files[i]


def load(data: Any, split: str, seed: int) -> Frames:
  """Opens the training or test split that a config names.

  Args:
    data: `root`; `version`, the folder of the tables; `channels`, names of
      cameras; `train` and `test`, names of ImageSets; `test_fraction`, the
      share of scenes to test on without them; `kinds` of objects.
    split: "train" or "test".
    seed: divides the scenes, if no ImageSets do.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  kinds = tuple(data.kinds)
  driving.require_kinds(kinds)
  root = Path(data.root).expanduser()
  tables = root / data.version
  if not tables.is_dir():
    raise UserError(
      f"{tables} is no folder: --config.data.root={data.root} takes the folder"
      " that nuScenes is unpacked in, and --config.data.version the folder of"
      " its tables, such as v1.0-mini"
    )
  kept = _scenes(root, tables, data, split, seed)
  samples = {
    row["token"]
    for row in _table(tables, "sample", _Sample)
    if row["scene_token"] in kept
  }
  sensors, of_sample = (
    _sensors(tables, data.channels),
    _objects(tables, samples),
  )
  poses = {x["token"]: x for x in _table(tables, "ego_pose", _Placed)}
  images = [
    row
    for row in _table(tables, "sample_data", _Image)
    if row["is_key_frame"]
    and row["sample_token"] in samples
    and row["calibrated_sensor_token"] in sensors
  ]
  if not images:
    raise UserError(
      f"{tables} has no key frame of {', '.join(data.channels)} in the {split}"
      " scenes"
    )
  cameras, truth = [], []
  for row in images:
    sensor = sensors[row["calibrated_sensor_token"]]
    camera = np.zeros((3, 4))
    camera[:, :3] = np.array(sensor["camera_intrinsic"])
    cameras.append(camera)
    pose = _known(poses, row["ego_pose_token"], "ego_pose", tables)
    shape = row["height"], row["width"]
    found = of_sample.get(row["sample_token"], [])
    truth.append(_seen(found, pose, sensor, camera, shape))
  return Frames(
    str(root),
    tuple(row["filename"] for row in images),
    tuple((row["height"], row["width"]) for row in images),
    tuple(truth),
    tuple(cameras),
    kinds,
  )


def _table(tables: Path, name: str, row: Any) -> list[Any]:
  path = tables / f"{name}.json"
  text = text_files.read(path, _MOST)
  try:
    return json_files.parsed(text, list[row])
  except UserError as error:
    raise UserError(f"{path} {error}") from error


def _known(rows: Mapping[str, Any], token: str, name: str, tables: Path) -> Any:
  if token not in rows:
    raise UserError(f"{tables / name}.json has no token {token!r}")
  return rows[token]


def _scenes(
  root: Path, tables: Path, data: Any, split: str, seed: int
) -> set[str]:
  """Tokens of the scenes of a split."""
  names = {x["name"]: x["token"] for x in _table(tables, "scene", _Named)}
  listed = root / "ImageSets"
  if listed.is_dir():
    wanted = text_files.read(listed / f"{data[split]}.txt").split()
    if unknown := [name for name in wanted if name not in names]:
      raise UserError(
        f"{tables}/scene.json has no scene {unknown[0]}, which"
        f" ImageSets/{data[split]}.txt names"
      )
    return {names[name] for name in wanted}
  if len(names) < 2:
    raise UserError(f"{tables} has {len(names)} scenes; two splits need two")
  ordered = sorted(names)
  held = set(splits_lib.held_out(ordered, data.test_fraction, seed))
  return {
    names[name]
    for i, name in enumerate(ordered)
    if (i in held) == (split == "test")
  }


def _sensors(tables: Path, channels: Any) -> dict[str, _Sensor]:
  """Token -> each sensor that is one of some cameras."""
  known = {x["token"]: x["channel"] for x in _table(tables, "sensor", _Channel)}
  found = {
    x["token"]: x
    for x in _table(tables, "calibrated_sensor", _Sensor)
    if known.get(x["sensor_token"]) in channels
  }
  for row in found.values():
    if np.shape(row["camera_intrinsic"]) != (3, 3):
      raise UserError(
        f"{tables}/calibrated_sensor.json: {row['token']} has no camera matrix"
        " of 3 x 3 numbers"
      )
  return found


def _objects(
  tables: Path, samples: set[str]
) -> dict[str, list[tuple[str, _Annotation]]]:
  """Sample -> class and annotation of its objects."""
  names = {x["token"]: x["name"] for x in _table(tables, "category", _Named)}
  instances = {
    x["token"]: names.get(x["category_token"], "")
    for x in _table(tables, "instance", _Instance)
  }
  found: dict[str, list[tuple[str, _Annotation]]] = {}
  for row in _table(tables, "sample_annotation", _Annotation):
    kind = _CLASSES.get(instances.get(row["instance_token"], ""))
    # Where neither scanner nor radar has a point, nothing is seen.
    hit = row.get("num_lidar_pts", 1) + row.get("num_radar_pts", 0)
    if kind and hit and row["sample_token"] in samples:
      found.setdefault(row["sample_token"], []).append((kind, row))
  return found


def _seen(
  rows: list[tuple[str, _Annotation]],
  pose: _Placed,
  sensor: _Sensor,
  camera: Float[np.ndarray, "3 4"],
  shape: tuple[int, int],
) -> Cuboids:
  """The objects that a camera sees, in its frame."""
  kept = []
  for kind, row in rows:
    place, heading = (
      np.array(row["translation"]),
      _turn(np.array(row["rotation"], float))[:, 0],
    )
    for frame in (pose, sensor):
      back = _turn(np.array(frame["rotation"], float)).T
      place = back @ (place - np.array(frame["translation"]))
      heading = back @ heading
    width, length, height = row["size"]
    bottom = place + np.array([0, height / 2, 0])
    yaw = np.arctan2(-heading[2], heading[0])
    if place[2] > cuboids.NEAR:
      kept.append((kind, [height, width, length], bottom, yaw))
  if not kept:
    return cuboids.empty()
  sizes = np.array([x[1] for x in kept], float)
  places = np.stack([x[2] for x in kept])
  yaws = np.array([x[3] for x in kept])
  boxes = cuboids.around(sizes, places, yaws, camera)
  cut, there = cuboids.inside(boxes, *shape)
  area, whole = (np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (cut, boxes))
  found = cuboids.made([x[0] for x in kept], cut, sizes, places, yaws)
  hidden = 1 - np.where(there, area / np.maximum(whole, 1e-9), 0)
  return found._replace(truncated=hidden).chosen(there)


def _turn(quaternion: Float[np.ndarray, "4"]) -> Float[np.ndarray, "3 3"]:
  """Rotation matrix of a quaternion (w, x, y, z)."""
  w, x, y, z = quaternion / np.linalg.norm(quaternion)
  return np.array(
    [
      [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
      [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
      [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
  )
