import argparse
import dataclasses
import functools
import io
import types

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax
import pytest

from protojax import configuration, methods, parallel
from protojax.commands import train
from protojax.console import Console
from protojax.data import stream
from protojax.datasets import stand_in
from protojax.engine import plan, plan_tables
from protojax.engine.optimizer import adam, grouped
from protojax.engine.stage import Fit, steps
from protojax.engine.terms import Aux, Term
from protojax.types import State, UserError
from tests.conftest import DEBUG, ROOT, ArraySource, run_script

# Every config may take its backbone, which traces fast.
_SMALL = (
  "--config.backbone.name=convnet",
  "--config.backbone.pretrained=False",
  "--config.batch_size=8",
  "--config.data.image_size=32",
)

# Five stages trace the encoder three times each: 20 s for one that is deep.
_SHALLOW = {
  "fopro_folder": (
    "--config.backbone.name=convnet",
    "--config.backbone.pretrained=False",
  )
}
# Nothing stands for an acquisition, which sets all shapes; it is only swept.
_MADE_UP = {"irca_folder": ":debug"}


def _shape(*shape, dtype=np.float32):
  return jax.ShapeDtypeStruct(shape, dtype)


def _planned(file, *keys, **counts):
  config = configuration.load(file, keys)
  return plan.of_run(methods.load(config), config, **counts)


def _bank(found):
  (size,) = (g.size for g in found.groups if g.name == "prototypes")
  return size


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_trained_groups_are_told_from_frozen_ones(clip):
  params = {"b": {"w": _shape(2, 3)}, "a": _shape(3), "c": _shape(1)}
  optimizer = grouped({"c": adam(1e-3, 0.1), "b": 1e-2}, clip)
  assert plan.trained(optimizer, params) == ("b", "c")
  assert plan.trained(optax.set_to_zero(), params) == ()


def test_a_plan_of_missing_data_allocates_and_writes_nothing(
  tmp_path, monkeypatch
):
  keys = "--config.data.name=cub200", "--config.prototypes.channels=65536"
  file = "configs/protopnet_cub200.py:debug"
  config = configuration.load(file, (*keys, *_SMALL))
  monkeypatch.chdir(tmp_path)
  alive = {id(x) for x in jax.live_arrays()}
  found = plan.of_run(methods.load(config), config)
  # 17 GB, and twice that of moments: it would be seen.
  sizes = {group.name: group.size for group in found.groups}
  assert sizes["add_on"] > 1.7e10
  assert found.stages[1].optimizer > 3.4e10
  made = [x for x in jax.live_arrays() if id(x) not in alive]
  assert sum(x.nbytes for x in made) < 1000
  assert not list(tmp_path.iterdir())
  assert set(found.missing) == {"train", "test"}
  assert "prepare cub200" in found.missing["train"]
  assert found.assumed == "200 classes, 5,994 training images (as published)"
  assert found.stages[1].steps == 5994 // 8
  assert stand_in.counts(config.data, images=80) == stand_in.Counts(
    200, 80, "as published, or as you say"
  )


def test_parameters_are_those_of_init():
  keys = (*_SMALL, "--config.joint.epochs=3")
  config = configuration.load("configs/protopnet_folder.py", keys)
  method = methods.load(config)
  found = plan.of_run(method, config, classes=3, images=101)
  state = jax.eval_shape(method.init, parallel.init_key(0))
  assert {g.name: g.count for g in found.groups} == {
    name: sum(x.size for x in jax.tree.leaves(tree))
    for name, tree in state.params.items()
  }
  by_name = {g.name: g.trained for g in found.groups}
  assert by_name["backbone"] == ("03-joint",)
  assert by_name["prototypes"] == ("02-warm", "03-joint")
  assert by_name["head"] == ()  # A sweep solves for it.
  warm, joint = found.stages[1:3]
  assert (joint.epochs, joint.steps, joint.images) == (3, 36, 3 * 96)
  # The warm stage reads cached rows of the backbone, each image once.
  assert (warm.epochs, warm.steps, warm.images) == (10, 120, 101)
  cells, channels = method.network.grid, method.network.backbone.channels
  assert warm.rows == 4 * 101 * np.prod(cells) * channels
  assert joint.rows == 0
  assert joint.cost.flops > 5 * warm.cost.flops


def test_rows_of_an_image_are_held_once_however_often_it_comes():
  """EPIC's pairs: 128 channels with 20 images each, in batches of 512."""
  keys = (
    "--config.rotation.solver=adam",
    "--config.rotation.most=20",
    "--config.data.validation_fraction=0.0",
  )
  method = methods.load(
    configuration.load("configs/epic_folder.py", (*_SMALL, *keys))
  )
  config = method.config
  found = plan.of_run(method, config, classes=3, images=101)
  first, *_ = (s for s in found.stages if s.id.endswith("purify"))
  assert (first.epochs, first.steps, first.images) == (2, 2 * 5, 101)
  assert first.rows == 4 * 101 * np.prod(method.network.grid) * 128


@pytest.mark.slow
def test_accumulating_holds_less_and_computes_the_same():
  keys = (*_SMALL, "--config.joint.epochs=1", "--config.data.image_size=64")
  keys += ("--config.batch_size=32",)
  file = "configs/protopnet_folder.py"
  costs = []
  for accumulate in (1, 8):
    found = _planned(file, *keys, f"--config.accumulate={accumulate}")
    costs += [s.cost for s in found.stages if s.id == "03-joint"]
  assert costs[1].flops == pytest.approx(costs[0].flops, rel=1e-3)
  assert costs[1].held < costs[0].held / 2


def test_a_sharded_bank_halves_on_two_devices():
  assert parallel.device_count() == 2
  found = {
    sharded: _planned(
      "configs/protopnet_folder.py",
      *_SMALL,
      f"--config.prototypes.sharded={sharded}",
    )
    for sharded in (False, True)
  }
  assert _bank(found[False]) == 2 * _bank(found[True])
  optimizers = [s.stages[1].optimizer for s in found.values()]
  moments = 2 * (_bank(found[False]) - _bank(found[True]))
  assert optimizers[0] - optimizers[1] == moments


@pytest.mark.slow
@pytest.mark.parametrize(
  "file", sorted((ROOT / "configs").glob("*_*.py")), ids=lambda p: p.stem
)
def test_every_config_has_a_plan_of_one_screen(file):
  variant = _MADE_UP.get(file.stem, "")
  found = _planned(f"{file}{variant}", *_SHALLOW.get(file.stem, ()))
  text = io.StringIO()
  descends = any(stage.cost and stage.cost.flops for stage in found.stages)
  assert descends != (file.stem in _MADE_UP)
  plan_tables.show(found, Console(file=text, width=80))
  assert len(text.getvalue().splitlines()) < 50
  for group in found.groups:
    assert f"{group.count:,}" in text.getvalue()


def test_an_acquisition_is_needed_for_a_plan():
  with pytest.raises(UserError, match=r"config\.data\.root is empty: give"):
    _planned("configs/irca_folder.py")


def test_someone_elses_methods_are_planned(toyshop):
  swirl, means = (
    _planned(str(toyshop / name / "config.py")) for name in ("swirl", "means")
  )
  assert swirl.assets == {"lens": 4 * 3 * 8}
  assert [group.trained for group in swirl.groups] == [("02-teach",)] * 2
  _, teach = swirl.stages
  assert teach.trains == ("bank", "body")
  # Two streams of 8: the labelled one sets the epoch.
  assert swirl.batch_size == 16
  assert teach.images == 16 * teach.steps
  assert teach.cost.flops > 0
  assert not any(stage.cost for stage in means.stages)
  assert [group.trained for group in means.groups] == [()]
  assert not means.missing


def _body(params, state, batch, now, options):
  """A loss of one product with the pixels."""
  del state, now, options
  pixels = batch["image"].astype("float32").mean((1, 2))
  return {"size": Term(jnp.sum(pixels @ params["body"]), len(pixels))}, Aux({})


def _stages_planned(stages):
  """The plan of a method that has these stages."""
  body = np.zeros((3, 64), np.float32)
  method = types.SimpleNamespace(
    init=lambda key: State({"body": body}, {}, {}),
    stages=lambda: stages,
    assets={},
  )
  return plan.of_run(method, ConfigDict({"method": "body", "seed": 0}))


def test_stages_that_differ_in_their_batches_cost_differently():
  source = ArraySource(count=64)
  made = functools.partial(stream.shuffled, source, seed=0)
  one = Fit(
    "turn",
    functools.partial(_body, options=()),
    made(16, batch_size=16),
    grouped({"body": adam(1e-3)}),
    steps(4),
    optimizer_id="shared",
  )
  twice, larger, finer, pieces, shards = _stages_planned(
    (
      one,
      dataclasses.replace(one, data=made(16, batch_size=64)),
      dataclasses.replace(one, data=made(32, batch_size=16)),
      dataclasses.replace(one, accumulate=4),
      dataclasses.replace(one, sharding={"body": 1}),
    )
  ).stages
  assert larger.cost.flops > 3 * twice.cost.flops
  assert finer.cost.held > twice.cost.held
  assert pieces.cost != twice.cost
  assert shards.optimizer < twice.optimizer


def test_a_loss_with_arguments_without_a_hash_is_planned():
  data = stream.shuffled(ArraySource(), 16, 8, 0)
  one = Fit(
    "turn",
    functools.partial(_body, options={"a": 1.0}),
    data,
    grouped({"body": adam(1e-3)}),
    steps(4),
    optimizer_id="shared",
  )
  found = _stages_planned((one, dataclasses.replace(one)))
  assert found.stages[0].cost == found.stages[1].cost
  assert found.batch_size == 8


def test_the_command_prints_the_plan(capsys):
  args = ["--config=configs/protopnet_folder.py", "--dry-run", *_SMALL]
  parser = argparse.ArgumentParser()
  train.arguments(parser)
  parsed, parsed_keys = parser.parse_known_args([*args, "--devices=2"])
  parsed.undeclared = parsed_keys
  assert train.run(parsed) == 0
  text = capsys.readouterr().out
  assert "not there: train, test: " in text
  assert "10 classes, 1,000 training images (assumed)" in text
  assert "in all " in text


def test_mistakes_are_told():
  with pytest.raises(UserError, match="does not divide over 2 devices"):
    _planned("configs/protopnet_folder.py", *_SMALL, "--config.batch_size=7")


@pytest.mark.slow
@pytest.mark.parametrize(
  ("variant", "backbone"),
  # torchvision's counts, less those of the classifier.
  [("resnet34", 21_797_672 - 513_000), ("vgg19", 20_024_384)],
)
def test_published_backbones_have_their_parameters(variant, backbone, tmp_path):
  done = run_script(
    "train.py",
    f"--config=configs/protopnet_cub200.py:{variant}",
    "--dry-run",
    "--devices=8",
    f"--workdir={tmp_path}/run",
  )
  assert done.returncode == 0, done.stderr
  assert f"{backbone:,}" in done.stdout
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_devices_share_a_bank():
  sizes = []
  for devices in (1, 2, 4):
    done = run_script(
      "train.py",
      "--config=configs/protopnet_folder.py",
      "--config.prototypes.sharded=True",
      "--config.prototypes.channels=4096",
      "--dry-run",
      f"--devices={devices}",
      *_SMALL,
    )
    assert done.returncode == 0, done.stderr
    (line,) = (x for x in done.stdout.splitlines() if "prototypes" in x[:10])
    sizes.append(line.split()[1:3])
  (one, whole), (two, half), (four, quarter) = sizes
  assert one == two == four
  assert float(half) == pytest.approx(float(whole) / 2, abs=0.06)
  assert float(quarter) == pytest.approx(float(whole) / 4, abs=0.06)


@pytest.mark.slow
def test_flags_of_a_plan_need_it():
  done = run_script("train.py", f"--config={DEBUG}", "--devices=2")
  assert done.returncode == 2
  assert "--dry-run" in done.stderr
