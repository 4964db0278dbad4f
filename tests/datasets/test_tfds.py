"""TFDS data sets prepared by the test, without TensorFlow."""

import contextlib
import io
import json
import sys

import numpy as np
from PIL import Image
import pytest
import tensorflow_datasets as tfds

from protojax.datasets import tfds as tfds_lib
from protojax.types import UserError


def pixels(i, dtype=np.uint8):
  top = np.iinfo(dtype).max
  return np.random.default_rng(i).integers(0, top, (8 + i, 9, 3), dtype)


def png(array):
  content = io.BytesIO()
  Image.fromarray(array).save(content, "PNG")
  return content.getvalue()


@pytest.fixture
def prepare(tmp_path):
  """Function: writes a small data set, returns its data_dir and its folder."""

  def prepare(features=None, examples=None):
    features = features or {
      "image": tfds.features.Image(shape=(None, None, 3)),
      "label": tfds.features.ClassLabel(names=["ant", "bee", "cat"]),
    }
    examples = examples or [
      {"image": png(pixels(i)), "label": i % 3} for i in range(10)
    ]

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
      """Ten small images."""

      name = "tiny"
      VERSION = tfds.core.Version("1.0.0")

      def _info(self):
        spec = tfds.features.FeaturesDict(features)
        # In the order written, so that the test knows which is which.
        return tfds.core.DatasetInfo(
          builder=self, features=spec, disable_shuffling=True
        )

      def _split_generators(self, dl_manager):
        return {"train": enumerate(examples), "test": enumerate(examples[:4])}

      def _generate_examples(self):
        raise NotImplementedError

    builder = Tiny(data_dir=str(tmp_path), file_format="array_record")
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
      builder.download_and_prepare()
    return str(tmp_path), tmp_path / "tiny" / "1.0.0"

  return prepare


def test_round_trip(prepare):
  root, _ = prepare()
  source = tfds_lib.opened("tiny", root, "train")
  assert len(source) == 10
  assert source.class_names == ("ant", "bee", "cat")
  assert source.labels.tolist() == [i % 3 for i in range(10)]
  assert source.labels.dtype == np.int32
  for i in range(10):
    np.testing.assert_array_equal(source[i]["image"], pixels(i))
    assert source[i]["label"] == i % 3
  assert source[3]["name"] == source.name(3) == "tiny-train-000003"
  assert "tensorflow" not in sys.modules


def test_splits_and_slices(prepare):
  root, _ = prepare()
  assert len(tfds_lib.opened("tiny", root, "train[:80%]")) == 8
  rest = tfds_lib.opened("tiny", root, "train[80%:]")
  np.testing.assert_array_equal(rest[0]["image"], pixels(8))
  assert rest.labels.tolist() == [2, 0]
  with pytest.raises(UserError, match=r"has no split 'val'; it has .*train"):
    tfds_lib.opened("tiny", root, "val")
  with pytest.raises(UserError, match="holds no image"):
    tfds_lib.opened("tiny", root, "train[:0%]")


def test_labels_are_remembered(prepare, cache, monkeypatch):
  root, _ = prepare()
  tfds_lib.opened("tiny", root, "train")
  (memory,) = (cache / "labels").iterdir()
  np.save(memory, np.full(10, 2, np.int32))
  assert tfds_lib.opened("tiny", root, "train").labels.tolist() == [2] * 10
  memory.write_bytes(b"damaged")
  assert tfds_lib.opened("tiny", root, "train").labels[0] == 0


def test_grey_images_and_other_features(prepare):
  grey = pixels(0)[..., :1]
  root, _ = prepare(
    {
      "image": tfds.features.Image(shape=(None, None, 1)),
      "mask": tfds.features.Image(shape=(None, None, 1)),
      "label": tfds.features.ClassLabel(num_classes=2),
      "name": tfds.features.Text(),
    },
    [
      {
        "image": png(grey[..., 0]),
        "mask": png(grey[..., 0]),
        "label": 1,
        "name": "ünter",
      }
    ]
    * 5,
  )
  source = tfds_lib.opened("tiny", root, "train")
  np.testing.assert_array_equal(source[0]["image"], np.repeat(grey, 3, -1))
  assert source.name(0) == "ünter"
  assert source.class_names == ("0", "1")


@pytest.mark.parametrize(
  ("features", "example", "message"),
  [
    (
      {
        "picture": tfds.features.Image(),
        "label": tfds.features.ClassLabel(names=["a"]),
      },
      {"picture": png(pixels(0)), "label": 0},
      r"features label \(ClassLabel\), picture \(Image\); needed",
    ),
    (
      {"image": tfds.features.Image(), "label": tfds.features.Scalar(np.int64)},
      {"image": png(pixels(0)), "label": 0},
      r"image \(Image\), label \(Scalar\); needed are image",
    ),
  ],
)
def test_other_features_are_named(prepare, features, example, message):
  root, _ = prepare(features, [example] * 4)
  with pytest.raises(UserError, match=message):
    tfds_lib.opened("tiny", root, "train")


def test_tfrecord_gets_one_line_that_says_how_to_convert(prepare):
  root, folder = prepare()
  facts = folder / "dataset_info.json"
  facts.write_text(
    json.dumps(json.loads(facts.read_text()) | {"fileFormat": "tfrecord"})
  )
  with pytest.raises(UserError) as error:
    tfds_lib.opened("tiny", root, "train")
  message = str(error.value)
  assert "is prepared as tfrecord" in message
  assert f"tfds convert_format --dataset_version_dir={folder}" in message
  assert "--out_file_format=array_record" in message
  assert "\n" not in message


def test_not_prepared_and_unknown(tmp_path):
  with pytest.raises(UserError) as error:
    tfds_lib.opened("mnist", str(tmp_path), "train")
  message = str(error.value)
  assert "mnist" in message
  assert "is not prepared in" in message
  assert "file_format='array_record').download_and_prepare()" in message
  assert "\n" not in message
  with pytest.raises(UserError, match=r"'mnits' in TFDS .*; near: mnist.*phot"):
    tfds_lib.opened("mnits", str(tmp_path), "train")
  with pytest.raises(UserError, match=r"'compsites'.*near: composites"):
    tfds_lib.opened("compsites", str(tmp_path), "train")
  with pytest.raises(UserError, match=r"'cars' in .*protojax prepare cars196"):
    tfds_lib.opened("cars", str(tmp_path), "train")
  with pytest.raises(UserError, match=r"no folder .*nowhere"):
    tfds_lib.opened("mnist", str(tmp_path / "nowhere"), "train")


def test_a_broken_record_is_named(prepare):
  root, _ = prepare(examples=[{"image": png(pixels(0))[:40], "label": 0}] * 4)
  source = tfds_lib.opened("tiny", root, "train")
  with pytest.raises(UserError, match=r"record 2 of tiny-train .* broken"):
    source[2]
