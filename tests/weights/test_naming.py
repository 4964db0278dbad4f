"""Checkpoints with the tensor names of others."""

import jax
import numpy as np
import pytest

from protojax import backbones
from protojax.backbones.resnet import ResNet
from protojax.types import UserError
from protojax.weights import naming
from tests.backbones import formula


def equal(got, want):
  jax.tree.map(np.testing.assert_array_equal, got, want)


def own(name):
  """A small backbone, a checkpoint of its own, and this converted."""
  net = formula.NETS[name]
  tensors = net.checkpoint()
  return net.backbone, tensors, net.backbone.convert(tensors)


def test_names_by_rules():
  foreign_name = naming.naming(
    ("first", "conv0"), (r"block_(\d)/conv", r"b.\1.c"), (r"conv(\d)", r"no\1")
  )
  for path, name in {
    "first/kernel": "no0.weight",
    "block_3/conv/bias": "b.3.c.bias",
    "block_3/first_conv/kernel": "block_3.first_conv.weight",
    "first_norm/scale": "first_norm.weight",
    "norm/mean": "norm.running_mean",
    "norm/var": "norm.running_var",
  }.items():
    assert foreign_name(("params", *path.split("/"))) == name


def test_kernels_of_linear_layers_are_turned():
  template = {"params": {"a": {"kernel": np.zeros((2, 3), np.float32)}}}
  known = naming.Layout("some", naming.naming())
  weight = np.arange(6.0).reshape(3, 2)
  got = naming.convert({"a.weight": weight}, template, [known])
  np.testing.assert_array_equal(got["params"]["a"]["kernel"], weight.T)


@pytest.mark.parametrize(
  "prefix",
  ["module.", "_orig_mod.", "model.", "net.", "model._orig_mod.module."],
)
def test_what_wrappers_put_before_the_names(prefix):
  backbone, tensors, want = own("vgg11_bn")
  equal(backbone.convert({prefix + k: x for k, x in tensors.items()}), want)


def test_a_layout_may_have_such_a_name_itself():
  template = {"params": {"net": {"bias": np.zeros(2, np.float32)}}}
  known = naming.Layout("some", naming.naming())
  got = naming.convert({"net.bias": np.ones(2)}, template, [known])
  np.testing.assert_array_equal(got["params"]["net"]["bias"], [1, 1])


def test_a_prefix_that_some_names_lack_comes_first():
  backbone, tensors, _ = own("vgg11_bn")
  named = {f"model.{k}": x for k, x in tensors.items()}
  with pytest.raises(UserError) as error:
    backbone.convert({**named, "criterion.weight": np.zeros(2)})
  count = len(tensors)
  assert str(error.value).startswith(
    f"the weights do not fit: {count} of {count + 1} names begin with 'model.',"
    " which is left out only if all do; save the model without the others"
    " (criterion.weight): missing "
  )


def test_the_nearest_layout_tells_what_is_amiss():
  backbone, tensors, _ = own("clip")
  tensors["ln_post.wait"] = tensors.pop("ln_post.weight")
  with pytest.raises(
    UserError, match=r"missing ln_post\.weight for .*norm/sca"
  ):
    backbone.convert(tensors)
  with pytest.raises(UserError, match="no foreign weights are known"):
    backbones.load("convnet").convert(tensors)


@pytest.mark.parametrize(
  ("name", "shape"),
  [
    ("cls_token", ()),
    ("cls_token", (2, 64)),
    ("pos_embed", (5,)),
    ("pos_embed", (1, 8, 8, 64)),
    ("pos_embed", (1, 16, 32)),
    ("reg_token", ()),
    ("reg_token", (2, 2, 2, 2)),
    ("blocks.0.mlp.fc1.weight", ()),
  ],
)
def test_strange_shapes_are_named(name, shape):
  backbone, tensors, _ = own("dinov2")
  with pytest.raises(UserError, match=f"{name} has shape"):
    backbone.convert({**tensors, name: np.zeros(shape, np.float32)})


def test_dinov2s_own_names():
  """Its class token has a position; a mask token comes with it."""
  backbone, tensors, want = own("dinov2")
  position = formula.tensor("position", (1, 1, 64))
  theirs = {
    **tensors,
    "cls_token": tensors["cls_token"] - position,
    "pos_embed": np.concatenate([position, tensors["pos_embed"]], axis=1),
    "register_tokens": tensors["reg_token"],
    "mask_token": np.zeros((1, 64), np.float32),
  }
  del theirs["reg_token"]
  got = backbone.convert(theirs)
  token = got["params"].pop("class_token")
  np.testing.assert_allclose(
    token, want["params"].pop("class_token"), atol=1e-6
  )
  equal(got, want)


def test_clip_beside_its_tower_of_text():
  backbone, tensors, want = own("clip")
  whole = {f"visual.{name}": x for name, x in tensors.items()} | {
    "visual.proj": np.zeros((64, 32)),
    "positional_embedding": np.zeros((77, 512)),
    "transformer.resblocks.0.ln_1.weight": np.zeros(512),
    "logit_scale": np.ones(()),
  }
  equal(backbone.convert(whole), want)


def test_the_old_names_of_densenets():
  backbone, tensors, want = own("densenet")
  old = {}
  for name, x in tensors.items():
    if "denselayer" in name:
      for new in ("norm1", "norm2", "conv1", "conv2"):
        name = name.replace(new, f"{new[:-1]}.{new[-1]}")
    old[name] = x
  assert set(old) != set(tensors)
  equal(backbone.convert(old), want)


def test_bbns_resnet_gives_the_branch_of_all_images():
  net = formula.net("resnet50", 64, ResNet((1, 1, 1, 3), True))
  backbone, ours = net.backbone, net.checkpoint()
  last = "layer4.2."
  theirs = {
    f"module.backbone.{name.replace(last, 'cb_block.')}": x
    for name, x in ours.items()
  }
  theirs |= {
    f"module.backbone.{name.replace(last, 'rb_block.')}": -x
    for name, x in ours.items()
    if name.startswith(last)
  }
  theirs["module.classifier.weight"] = np.zeros((5089, 4096), np.float32)
  equal(backbone.convert(theirs), backbone.convert(ours))


def test_bbns_resnet_with_both_branches_has_them_one_after_the_other():
  net = formula.net("resnet53", 64, ResNet((1, 1, 1, 4), True))
  backbone, ours = net.backbone, net.checkpoint()
  theirs = {"module.classifier.weight": np.zeros((5089, 4096), np.float32)}
  for name, x in ours.items():
    name = name.replace("layer4.2.", "cb_block.")
    theirs[f"module.backbone.{name.replace('layer4.3.', 'rb_block.')}"] = x
  equal(backbone.convert(theirs), backbone.convert(ours))


@pytest.mark.parametrize("index", [0, 1])
def test_a_cut_ignores_what_was_cut_off(index):
  whole = backbones.load("efficientnet_lite1_head")
  cut = backbones.load("efficientnet_lite1_stride16")
  tensors = formula.checkpoint(whole, whole.layouts[index])
  want, got = whole.convert(tensors), cut.convert(tensors)
  for collection, groups in got.items():
    for group, leaves in groups.items():
      equal(leaves, want[collection][group])
