"""The backbones by name: shapes, levels, statistics, precision, memory."""

import functools

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import backbones
from protojax.backbones import unet
from protojax.backbones.resnet import ResNet
from protojax.backbones.vit import ViT
from protojax.heat import receptive_field
from protojax.types import UserError
from protojax.weights import reading
from tests.backbones import formula

# One or more of each module, and of each way to build it.
KINDS = (
  "clip_base_patch32",
  "convnet",
  "convnext_tiny",
  "densenet121",
  "dinov2_small",
  "efficientnet_lite0_head",
  "efficientnet_lite0_stride16",
  "inception_v3",
  "resnet18",
  "resnet18_stride8",
  "resnet50_stride16",
  "stdc1",
  "unet_small",
  "vgg11",
  "vgg11_stride16",
  "vgg13_bn",
  "vit_small_patch16",
)
# Others have smaller maps than their strides say: `test_inception`.
PADDED = tuple(name for name in KINDS if name != "inception_v3")


def filled(module):
  """Plausible variables; real initialisers take long to compile."""
  rng = np.random.default_rng(0)

  def fill(path, leaf):
    values = rng.normal(size=leaf.shape, scale=0.1)
    return np.float32(values + (path[-1].key in ("scale", "var")))

  return jax.tree_util.tree_map_with_path(fill, reading.shapes(module))


def noise(count, size):
  """Normalised images."""
  rng = np.random.default_rng(1)
  return jnp.asarray(rng.normal(size=(count, size, size, 3)), jnp.float32)


@functools.cache
def traced(name, size):
  """The backbone; its features and variables, as shapes and in a program.

  Nothing is compiled.
  """
  backbone = backbones.load(name)
  init = functools.partial(backbone.module.init_with_output, mutable=True)
  program, shapes = jax.make_jaxpr(init, return_shape=True)(
    jax.random.key(0), jnp.zeros((2, size, size, 3))
  )
  tree = jax.tree.structure(shapes)
  return backbone, shapes, tree.unflatten(program.jaxpr.outvars)


def test_a_wrong_name_lists_the_right_ones():
  with pytest.raises(UserError, match=r"Did you mean 'convnet'.*lite0_head"):
    backbones.load("convnets")
  with pytest.raises(UserError, match=r"'float16': .* float32, bfloat16"):
    backbones.load("convnet", dtype="float16")


def test_there_is_one_of_each_module():
  every = {type(backbones.load(name).module) for name in backbones.names()}
  assert every == {type(backbones.load(name).module) for name in KINDS}


@pytest.mark.parametrize("name", PADDED)
def test_levels_are_what_their_maps_have(name):
  backbone, (_, variables), _ = traced(name, 64)
  names = [level.name for level in backbone.levels]
  assert len(set(names)) == len(names)
  assert backbone.chosen(names) == backbone.levels
  strides = [level.stride for level in backbone.levels]
  # A decoder goes from the smallest map to the largest one.
  assert sorted(strides) == strides[:: -1 if name.startswith("unet") else 1]
  assert strides[-1] == backbone.stride
  for level in backbone.levels:
    (found,) = variables["intermediates"][level.name]
    cells = 64 // level.stride
    assert found.shape == (2, cells, cells, level.channels)
    assert found.dtype == jnp.float32


@pytest.mark.parametrize("name", PADDED)
def test_the_last_level_is_what_the_net_gives(name):
  backbone, _, (features, variables) = traced(name, 64)
  (last,) = variables["intermediates"][backbone.levels[-1].name]
  # In some, a convolution or a norm follows.
  follows = isinstance(backbone.module, ViT) or name.endswith("_head")
  assert (features is last) != follows


def test_deeplabs_resnet_has_its_cells_dilations_and_torchvisions_weights():
  deeplab = backbones.load("resnet101_deeplab")
  for size, cells in ((321, 41), (512, 65), (513, 65)):
    assert receptive_field.chain(deeplab.layers, size).rows.cells == cells
  dilations = [
    {block[1].dilation for block in stage} for stage in deeplab.module.stages()
  ]
  assert dilations == [{1}, {1}, {2}, {4}]
  # The first convolution is strided, where torchvision's is the second.
  strides = [[x.stride for x in s[0]] for s in deeplab.module.stages()]
  assert strides == [[1, 1, 1], [2, 1, 1], [1, 1, 1], [1, 1, 1]]
  plain = backbones.load("resnet101")
  shapes = [reading.shapes(b.module) for b in (deeplab, plain)]
  assert jax.tree.map(lambda x: x.shape, shapes[0]) == jax.tree.map(
    lambda x: x.shape, shapes[1]
  )


@pytest.mark.parametrize(
  ("name", "size"),
  [
    *((name, 64) for name in PADDED),
    ("convnet", 100),
    ("convnext_tiny", 100),
    ("efficientnet_lite0_stride16", 100),
    ("resnet18", 100),
    ("resnet18_deeplab", 64),
    ("resnet18_deeplab", 100),
    ("vgg11", 100),
    ("vit_small_patch16", 100),
  ],
)
def test_layers_tell_the_grid_of_any_image(name, size):
  backbone, (features, _), _ = traced(name, size)
  field = receptive_field.chain(backbone.layers, size)
  cells = field.rows.cells
  assert features.shape == (2, cells, cells, backbone.channels)
  assert field.rows.jump == field.columns.jump == backbone.stride


def test_class_token_and_registers_stand_apart():
  _, (features, variables), _ = traced("dinov2_small", 64)
  (token,) = variables["intermediates"]["class_token"]
  assert token.shape == (2, 384)
  assert features.shape == (2, 4, 4, 384)


def equations(jaxpr):
  """All equations of a program, also nested ones."""
  for equation in jaxpr.eqns:
    yield equation
    for inner in jax.extend.core.jaxprs_in_params(equation.params):
      yield from equations(inner)


@pytest.mark.parametrize(
  ("name", "blocks"),
  [
    ("convnet", 4),
    ("convnext", 5),
    ("densenet", 7),
    ("dinov2", 2),
    ("efficientnet_lite0_head", 16),
    ("resnet18", 8),
    ("vgg11_bn", 5),
  ],
)
def test_products_are_of_bfloat16_and_blocks_are_computed_anew(name, blocks):
  if name in formula.NETS:
    module = formula.NETS[name].backbone.module
    module = module.clone(dtype=jnp.bfloat16, remat=True)
  else:
    module = backbones.load(name, dtype="bfloat16", remat=True).module
  variables = reading.shapes(module)
  images = jax.ShapeDtypeStruct((1, 96, 96, 3), jnp.float32)
  program = jax.make_jaxpr(module.apply)(variables, images)
  types = {}
  for equation in equations(program.jaxpr):
    operands = {x.aval.dtype for x in equation.invars}
    types.setdefault(equation.primitive.name, []).append(operands)
  half, whole = jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float32)
  products = types.get("dot_general", []) + types.get(
    "conv_general_dilated", []
  )
  assert set.union(*products) == {half}
  assert len(types["remat2"]) == blocks
  assert program.out_avals[0].dtype == whole
  assert {x.dtype for x in jax.tree.leaves(variables)} == {whole}


@pytest.mark.parametrize(
  "module",
  [
    backbones.load("convnet").module.clone(synchronised=False),
    unet.made((4, 8), "group").module,
    unet.made((4, 8), "batch", 1).module.clone(synchronised=False),
    ResNet((1,), bottleneck=True, synchronised=False),
    ViT(32, blocks=1, heads=2, patch=4, grid=8, registers=1, layer_scale=True),
  ],
  ids=["convnet", "unet", "unet_coarse", "resnet", "vit"],
)
def test_every_parameter_gets_its_gradient_and_the_same_anew(module):
  images = noise(2, 32)
  variables = filled(module)

  def gradients(params, module):
    def loss(params):
      every = {**variables, "params": params}
      features, moved = module.apply(
        every, images, True, mutable=["batch_stats"]
      )
      return jnp.mean(jnp.sin(3 * features)), moved

    return jax.grad(loss, has_aux=True)(params)

  @jax.jit
  def both(params):
    return gradients(params, module), gradients(
      params, module.clone(remat=True)
    )

  kept, anew = jax.device_get(both(variables["params"]))
  for leaf in jax.tree.leaves(kept[0]):
    assert np.abs(leaf).max() > 0
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
    kept,
    anew,
  )


def test_training_moves_the_statistics_and_only_then():
  module = backbones.load("convnet").module.clone(synchronised=False)
  images = noise(4, 16)
  variables = filled(module)

  @jax.jit
  def train(variables):
    return module.apply(variables, images, True, mutable=["batch_stats"])

  features, moved = train(variables)
  assert features.shape == (4, 2, 2, 128)
  before = variables["batch_stats"]["norm_1"]["mean"]
  assert not np.allclose(moved["batch_stats"]["norm_1"]["mean"], before)
  # Without `mutable` an attempt to move them would raise.
  jax.eval_shape(module.apply, variables, images)


def test_devices_share_their_statistics():
  module = backbones.load("convnet").module
  images = noise(4, 16)
  variables = filled(module)

  def train(module):
    return lambda v, x: module.apply(v, x, True, mutable=["batch_stats"])

  apart = jax.vmap(train(module), in_axes=(None, 0), axis_name="devices")
  alone = train(module.clone(synchronised=False))

  @jax.jit
  def both(variables, images):
    halves = images.reshape(2, 2, 16, 16, 3)
    return apart(variables, halves), alone(variables, images)

  (features, moved), (want, want_moved) = jax.device_get(
    both(variables, images)
  )
  np.testing.assert_allclose(features.reshape(want.shape), want, atol=1e-4)
  for device in range(2):
    jax.tree.map(
      lambda a, b, i=device: np.testing.assert_allclose(a[i], b, atol=1e-5),
      moved,
      want_moved,
    )


def test_maps_are_those_of_normalised_images():
  backbone, rng = backbones.load("convnet"), np.random.default_rng(0)
  images = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
  variables = filled(backbone.module)

  @jax.jit
  def both(variables, images):
    pixels = (images / 255.0 - 0.5) / 0.25
    maps = backbone.maps(variables, images, ("stage_4", "stage_1"))
    return (*maps, backbone.module.apply(variables, pixels))

  last, first, features = both(variables, images)
  assert first.shape == (2, 8, 8, 32)
  np.testing.assert_allclose(last, features, rtol=1e-4, atol=1e-4)
  pixels = (images[..., 1] / 255 - 0.5) / 0.25
  normal = backbone.normalise(images)
  assert normal.dtype == np.float32
  np.testing.assert_allclose(normal[..., 1], pixels, atol=1e-6)


def test_a_wrong_level_lists_the_right_ones():
  backbone = backbones.load("convnet")
  with pytest.raises(
    UserError, match=r"'x', 'y'; .*levels from stage_1, stage_2"
  ):
    backbone.chosen(("x", "stage_1", "y"))


def test_weights_that_will_be_loaded_are_zero_at_first():
  backbone = backbones.load("convnet")
  blank = jax.jit(lambda key: backbone.init(key, 16, blank=True))(
    jax.random.key(0)
  )
  fresh = jax.eval_shape(lambda key: backbone.init(key, 16), jax.random.key(0))
  assert set(blank) == {"params", "batch_stats"}
  assert jax.tree.map(jnp.shape, blank) == jax.tree.map(jnp.shape, fresh)
  assert not any(np.any(x) for x in jax.tree.leaves(blank["params"]))
