"""`python -m protojax generate` on a model with random weights."""

from pathlib import Path

import numpy as np
from PIL import Image
import pytest

from protojax import cli, methods
from protojax.configs import text_to_image_folder
from protojax.evaluation import held_objects, labelled_scenes
from protojax.operations import regenerating
from tests import starts
from tests.common.processes import finish, start

NONE = "DontCare -1 -1 -10 1 1 9 9 -1 -1 -1 -1000 -1000 -1000 -10"
# Height and width of an image, and its labels.
SCENES = {
  "000300": (
    (40, 60),
    "cup 0.00 0 -1.57 5.00 4.00 30.50 36.00 1.5 1.6 3.9 1.8 1.6 25 1.5\n"
    f"{NONE}\n"
    "cat 0.00 0 -1.57 35 10 59 39 1.5 1.6 3.9 1.8 1.6 25 1.5\n",
  ),
  "000301": ((32, 32), "cat 0 0 0 2 3 20 30 1 1 1 1 1 20 0\r\n"),
  "000302": ((32, 48), f"{NONE}\n"),
}
SMALL = ("--steps=3", "--components=4", "--batch-size=2", "--guidance=2")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  return run_of(tmp_path_factory.mktemp("base"), weather=True)


def run_of(folder, weather):
  """A run of the text-to-image model that has ended, not trained."""
  config = text_to_image_folder.get_config("debug")
  config.data.weather = weather
  method = methods.load(config)
  return starts.ended(folder, method, starts.averaged(method))


def scenes(folder):
  rng = np.random.default_rng(1)
  for part in ("image_2", "label_2", "calib"):
    (folder / part).mkdir(parents=True)
  for name, (size, labels) in SCENES.items():
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "image_2" / f"{name}.png")
    (folder / "label_2" / f"{name}.txt").write_bytes(labels.encode())
    (folder / "calib" / f"{name}.txt").write_text("P2: 1 0 0 0\n")
  return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  return scenes(tmp_path_factory.mktemp("kitti"))


def typed(run, data, output, *arguments):
  condition = ["--condition=snow,fog"]
  if any(word.startswith("--condition") for word in arguments):
    condition = []
  return [
    f"--workdir={run}",
    f"--images={data / 'image_2'}",
    f"--labels={data / 'label_2'}",
    f"--output={output}",
    *condition,
    *SMALL,
    *arguments,
  ]


def generate(*given):
  return cli.run("generate", typed(*given), "python -m protojax")


@pytest.fixture(scope="module")
def traced():
  """A row for each time that the program of images was traced."""
  return []


@pytest.fixture(scope="module")
def made(run, data, traced, tmp_path_factory):
  output = tmp_path_factory.mktemp("new") / "all"
  calibration = f"--calibration={data / 'calib'}"
  drawn = regenerating.drawn

  def counted(*given):
    traced.append(given)
    return drawn(*given)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(regenerating, "drawn", counted)
    assert generate(run, data, output, calibration, "--shown=1") == 0
  return output


@pytest.mark.slow
def test_one_program_does_for_all_sizes_boxes_and_conditions(made, traced):
  assert len(list(made.glob("*/image_2/*.png"))) == 4  # in two batches
  assert len(traced) == 1


@pytest.mark.slow
def test_images_keep_their_size_and_labels_their_bytes(made, data):
  for condition in ("snow", "fog"):
    for name in ("000300", "000301"):
      size, labels = SCENES[name]
      with Image.open(made / condition / "image_2" / f"{name}.png") as image:
        assert image.size == size[::-1]
      copied = made / condition / "label_2" / f"{name}.txt"
      assert copied.read_bytes() == labels.encode()
      assert (made / condition / "calib" / f"{name}.txt").exists()
    # It has nothing to hold.
    assert not (made / condition / "image_2" / "000302.png").exists()


@pytest.mark.slow
def test_conditions_draw_different_images(made):
  one, other = (
    np.asarray(Image.open(made / c / "image_2" / "000300.png"))
    for c in ("snow", "fog")
  )
  assert (one != other).any()


@pytest.mark.slow
def test_one_device_draws_what_two_draw(run, data, made, tmp_path):
  """`made` is of this process, which has two; a row on each in a batch."""
  output = tmp_path / "one"
  finish(start(["-m", "protojax", "generate", *typed(run, data, output)]))
  paths = sorted(made.glob("*/image_2/*.png"))
  assert len(paths) == 4
  for path in paths:
    two, one = (
      np.int32(Image.open(p)) for p in (path, output / path.relative_to(made))
    )
    # Products over other batches round in another way.
    assert np.abs(one - two).max() <= 1
    assert np.mean(one != two) < 0.01


@pytest.mark.slow
def test_the_report_shows_source_result_masks_and_figures(made):
  page = (made / "report" / "report.html").read_text(encoding="utf-8")
  for words in (
    "000300 in snow",
    "as it was",
    "condition success",
    "Where keys were compared",
    "first three self-prototypes",
    "Outside of the boxes the model takes it for",
  ):
    assert words in page, words
  assert "000301 in snow" not in page  # --shown=1


@pytest.mark.slow
def test_what_stands_is_not_made_again(run, data, made, capsys):
  kept = made / "snow" / "image_2" / "000301.png"
  lost = made / "fog" / "image_2" / "000300.png"
  before, content = kept.stat().st_mtime_ns, lost.read_bytes()
  lost.unlink()
  calibration = f"--calibration={data / 'calib'}"
  assert generate(run, data, made, calibration, "--shown=1") == 0
  assert "3 of 4 images stand already" in capsys.readouterr().err
  assert kept.stat().st_mtime_ns == before
  assert lost.read_bytes() == content


@pytest.mark.slow
def test_a_folder_of_other_settings_is_refused(run, data, made, capsys):
  assert generate(run, data, made, "--semantic=5") == cli.EXIT_USER_ERROR
  said = capsys.readouterr().err
  assert f"skipped {data / 'image_2' / '000302.png'}: " in said
  assert "made with other settings: name another folder" in said


_LABEL = "{} 0 0 0 2 3 {} 30 1 1 1 1 1 20 0\n"


def _box(data):
  (data / "label_2" / "000301.txt").write_text(_LABEL.format("cat", 50))


def _line(data):
  (data / "label_2" / "000301.txt").write_text(_LABEL.format("cat", "x"))


def _missing(data):
  (data / "label_2" / "000301.txt").unlink()


def _uncalibrated(data):
  (data / "calib" / "000301.txt").unlink()


def _nothing(data):
  for path in (data / "image_2").iterdir():
    path.unlink()


def _dog(data):
  (data / "label_2" / "000301.txt").write_text(_LABEL.format("dog", 20))


@pytest.mark.parametrize(
  ("spoil", "arguments", "said"),
  [
    (_box, (), "000301.txt: the box of object 1 ('cat'), 2 3 50 30 (left"),
    (_line, (), "000301.txt, line 1: 'cat 0 0 0 2 3 x 30"),
    (_missing, (), "000301.png has no labels: there is no"),
    (_uncalibrated, ("--calibration",), "000301.png has no calibration"),
    (_nothing, (), "image_2 has no images"),
    (_dog, (), "the model never saw objects called 'dog'"),
    (None, ("--condition=rain",), "the model never saw the condition 'rain'"),
    (None, ("--objects=bus",), "none of the 3 images has an object called bus"),
    (None, ("--size=33x32",), "images of 33 x 32 do not divide into patches"),
    (None, ("--components=99",), "components is 99; the blocks"),
    (None, ("--model=x",), "--model and --workdir are two models: give one"),
  ],
)
def test_bad_input_is_one_line(run, tmp_path, capsys, spoil, arguments, said):
  data = scenes(tmp_path / "kitti")
  if spoil:
    spoil(data)
  arguments = [
    f"{x}={data / 'calib'}" if x == "--calibration" else x for x in arguments
  ]
  found = generate(run, data, tmp_path / "new", *arguments)
  assert found == cli.EXIT_USER_ERROR
  lines = capsys.readouterr().err.strip().splitlines()
  errors = [line for line in lines if line.startswith("error:")]
  assert len(errors) == 1
  assert said in errors[0]
  assert not (tmp_path / "new" / "snow").exists()


def test_a_condition_that_is_known_but_was_never_shown(data, tmp_path, capsys):
  clear = run_of(tmp_path / "clear", weather=False)
  found = generate(clear, data, tmp_path / "new", "--condition=night")
  assert found == cli.EXIT_USER_ERROR
  said = capsys.readouterr().err
  assert "never saw the condition 'night': none of 32 captions" in said


@pytest.mark.parametrize(
  ("argument", "said"),
  [
    ("--condition=snow,snow", "is no list of different names"),
    ("--condition=../x", "is no name"),
    ("--size=32", "is no size"),
    ("--semantic=-1", "is not a number from 0"),
  ],
)
def test_what_is_typed_wrongly_is_said(
  run, data, tmp_path, capsys, argument, said
):
  with pytest.raises(SystemExit):
    generate(run, data, tmp_path / "new", argument)
  assert said in capsys.readouterr().err


def test_agreement_does_not_mind_light_and_minds_content():
  rng = np.random.default_rng(0)
  image = rng.integers(0, 200, (20, 30, 3), dtype=np.uint8)
  darker = (image * 0.4 + 30).astype(np.uint8)
  other = rng.integers(0, 200, (20, 30, 3), dtype=np.uint8)
  boxes = np.array([[2.0, 3, 12, 20], [0, 0, 20, 30]])
  assert (held_objects.agreement(image, darker, boxes) > 0.99).all()
  assert (np.abs(held_objects.agreement(image, other, boxes)) < 0.3).all()
  flat = np.full_like(image, 90)
  assert np.isnan(held_objects.agreement(image, flat, boxes)).all()


def test_names_that_count(data):
  found, skipped = labelled_scenes.read(
    data / "image_2", data / "label_2", wanted=("cup",)
  )
  assert [scene.names for scene in found] == [("cup",)]
  np.testing.assert_array_equal(found[0].boxes, [[4, 5, 36, 30.5]])
  assert [Path(name).stem for name, _ in skipped] == ["000301", "000302"]
