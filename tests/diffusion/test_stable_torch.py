"""Stable Diffusion's parts against diffusers and transformers.

Tiny networks with random weights, of the settings of 1.5 and of 2.1. Run with
`-s` to see the differences.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.diffusion import autoencoder_file, guidance, samplers
from protojax.diffusion.autoencoder import Autoencoder
from protojax.diffusion.stable import base, schedule, tower, unet_file
from protojax.text import clip
from protojax.weights.naming import convert
from tests.backbones.test_goldens import projected
from tests.diffusion import published, stable_folder
from tests.diffusion.test_stable import GOLDENS
from tests.diffusion.test_stable import TEXTS as TEXTS_OF_GOLDENS

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

# More would wait for one another where there is one core.
torch.set_num_threads(1)
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

OF_UNET = {
  "sample_size": 8,
  "block_out_channels": (16, 32, 48),
  "layers_per_block": 2,
  "down_block_types": (
    "CrossAttnDownBlock2D",
    "CrossAttnDownBlock2D",
    "DownBlock2D",
  ),
  "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
  "norm_num_groups": 8,
  "cross_attention_dim": 32,
}
OF_CODER = {
  "block_out_channels": (8, 16),
  "down_block_types": ("DownEncoderBlock2D",) * 2,
  "up_block_types": ("UpDecoderBlock2D",) * 2,
  "layers_per_block": 1,
  "norm_num_groups": 4,
  "latent_channels": 4,
}
OF_TEXT = {
  "hidden_size": 32,
  "intermediate_size": 128,
  "num_attention_heads": 4,
  "max_position_embeddings": 77,
  "bos_token_id": 0,
  "eos_token_id": 1,
}
OF_SCHEDULE = {
  "beta_start": 0.00085,
  "beta_end": 0.012,
  "beta_schedule": "scaled_linear",
  "clip_sample": False,
  "set_alpha_to_one": False,
  "steps_offset": 1,
}
# The settings in which the two differ.
VERSIONS = {
  "1.5": (
    {"attention_head_dim": 8},
    {"num_hidden_layers": 2, "hidden_act": "quick_gelu"},
    "epsilon",
  ),
  "2.1": (
    {
      "attention_head_dim": (2, 4, 6),
      "use_linear_projection": True,
      "upcast_attention": True,
    },
    {"num_hidden_layers": 3, "hidden_act": "gelu"},
    "v_prediction",
  ),
}


@pytest.fixture(scope="module", params=sorted(VERSIONS))
def pair(request, tmp_path_factory):
  """A pipeline of diffusers, and ours, read from the folder that it saved."""
  of_unet, of_text, kind = VERSIONS[request.param]
  folder = tmp_path_factory.mktemp("stable")
  torch.manual_seed(0)
  words = stable_folder.write_tokenizer(folder / "tokenizer", 77)
  text = transformers.CLIPTextModel(
    transformers.CLIPTextConfig(vocab_size=len(words), **OF_TEXT, **of_text)
  )
  parts = {
    "unet": diffusers.UNet2DConditionModel(**OF_UNET, **of_unet),
    "vae": diffusers.AutoencoderKL(**OF_CODER),
    "text_encoder": text,
  }
  for part in parts.values():
    part.eval()
    with torch.no_grad():
      for x in part.parameters():
        # Norms and biases that do something.
        x.add_(0.05 * torch.randn_like(x))
  scheduler = diffusers.DDIMScheduler(**OF_SCHEDULE, prediction_type=kind)
  pipeline = diffusers.StableDiffusionPipeline(
    **parts,
    tokenizer=transformers.CLIPTokenizer.from_pretrained(folder / "tokenizer"),
    scheduler=scheduler,
    safety_checker=None,
    feature_extractor=None,
    requires_safety_checker=False,
  )
  pipeline.set_progress_bar_config(disable=True)
  pipeline.save_pretrained(folder / "saved")
  return pipeline, *base.load(folder / "saved")


def first(x):
  """Channels first, as PyTorch has them."""
  return torch.from_numpy(np.array(x)).permute(0, 3, 1, 2)


def close(name, found, expected):
  expected = expected.detach().numpy()
  if expected.ndim == 4:
    expected = expected.transpose(0, 2, 3, 1)
  difference = np.abs(np.asarray(found) - expected).max()
  print(f"{name}: {difference:.1e} of {np.abs(expected).max():.1f}")
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


TEXTS = ["a red cup, 12 cats", "", "snow"]


def filled(part, tensors):
  part.load_state_dict({k: torch.from_numpy(x) for k, x in tensors.items()})
  return part.eval()


@torch.no_grad()
def test_goldens(tmp_path):
  """The numbers of `test_stable` are those of diffusers and transformers."""
  settings = dict(stable_folder.UNET)
  del settings["_class_name"]
  unet = filled(
    diffusers.UNet2DConditionModel(**settings, use_linear_projection=True),
    stable_folder.unet_tensors(),
  )
  keys = []
  block = unet.up_blocks[1].attentions[0].transformer_blocks[0]
  block.attn1.to_k.register_forward_hook(
    lambda module, given, out: keys.append(out)
  )
  x, t, text = stable_folder.given()
  out = unet(first(x), torch.from_numpy(t), torch.from_numpy(text)).sample
  text = transformers.CLIPTextModel(
    transformers.CLIPTextConfig(**stable_folder.TOWER)
  )
  # Names of before transformers 5 have a prefix.
  prefix = next(iter(text.state_dict())).partition("embeddings.")[0]
  text = filled(text, stable_folder.tower_tensors(prefix))
  stable_folder.write_tokenizer(tmp_path)
  ids = tower.read_words(tmp_path, stable_folder.LENGTH)(TEXTS_OF_GOLDENS)
  for name, found in (
    ("unet", out.permute(0, 2, 3, 1)),
    ("keys", keys[0]),
    ("text", text(torch.from_numpy(ids).long())[0]),
  ):
    np.testing.assert_allclose(
      projected(found.numpy()), GOLDENS[name], atol=1e-5
    )


@torch.no_grad()
def test_texts(pair):
  theirs, model, weights = pair
  ids = theirs.tokenizer(
    TEXTS, padding="max_length", max_length=77, return_tensors="pt"
  ).input_ids
  caption = model.caption(TEXTS)
  np.testing.assert_array_equal(caption["tokens"], ids.numpy())
  found = jax.jit(model.read)(weights, caption)
  close("text", found.tokens, theirs.text_encoder(ids)[0])


@torch.no_grad()
@pytest.mark.parametrize("size", [(8, 8), (7, 11)])
def test_unets(pair, size):
  theirs, model, weights = pair
  rng = np.random.default_rng(0)
  x = jnp.float32(rng.normal(size=(2, *size, 4)))
  text = jnp.float32(rng.normal(size=(2, 77, 32)))
  t = jnp.array([981.0, 3.0])
  seen = []
  block = theirs.unet.up_blocks[1].attentions[0].transformer_blocks[0]
  hook = block.attn1.to_k.register_forward_hook(
    lambda module, given, out: seen.append(out)
  )
  expected = theirs.unet(
    first(x), torch.from_numpy(np.array(t)), torch.from_numpy(np.array(text))
  ).sample
  hook.remove()
  said = base.Text(text, jnp.ones((2, 77), bool))
  found = jax.jit(model.predict)(weights, x, t, said)
  close(f"unet {size}", found, expected)
  blocks = model.steered
  again, kept = jax.jit(model.seen, static_argnums=4)(
    weights, x, t, said, blocks
  )
  close("seen", again, expected)
  close("keys", kept.keys[0], seen[0])
  assert kept.words.shape[2] == np.prod(model.grid(*size, blocks))


@torch.no_grad()
def test_autoencoders(pair):
  theirs, model, weights = pair
  rng = np.random.default_rng(0)
  images = jnp.float32(rng.uniform(-1, 1, (2, 16, 24, 3)))
  scale = theirs.vae.config.scaling_factor
  expected = theirs.vae.encode(first(images)).latent_dist
  found = model.encoded(weights, images)
  close("mean", found, expected.mean * scale)
  close(
    "decoded",
    model.decoded(weights, found),
    theirs.vae.decode(first(found) / scale)[0],
  )
  keys = jax.random.split(jax.random.key(0), 2)
  drawn = model.encoded(weights, images, keys)
  noise = jax.vmap(lambda key: jax.random.normal(key, found.shape[1:]))(keys)
  close("drawn", drawn, scale * (expected.mean + expected.std * first(noise)))


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("one", [True, False])
def test_schedulers(tmp_path, kind, one, spacing):
  theirs = diffusers.DDIMScheduler(
    **{**OF_SCHEDULE, "set_alpha_to_one": one},
    prediction_type=kind,
    timestep_spacing=spacing,
  )
  theirs.save_pretrained(tmp_path)
  ours = schedule.read(tmp_path / "scheduler_config.json")
  rng = np.random.default_rng(0)
  x = jnp.float32(rng.normal(size=(2, 3, 3, 4)))
  mixing = jnp.float32(rng.normal(size=(4, 4))) / 4
  theirs.set_timesteps(20)
  times = ours.times(20)
  np.testing.assert_array_equal(times[:-1], theirs.timesteps.numpy())
  found = samplers.follow(ours, lambda x, t: jnp.sin(x @ mixing), x, times)
  y = torch.from_numpy(np.array(x))
  for t in theirs.timesteps:
    y = theirs.step(
      torch.sin(y @ torch.from_numpy(np.array(mixing))), t, y
    ).prev_sample
  np.testing.assert_allclose(found, y.numpy(), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_whole_pipelines(pair):
  """Text, guidance, ten steps of DDIM, image."""
  theirs, model, weights = pair
  x = jnp.float32(np.random.default_rng(0).normal(size=(2, 8, 8, 4)))
  expected = theirs(
    ["a red cup", "snow"],
    negative_prompt=["ugly", "ugly"],
    guidance_scale=7.5,
    num_inference_steps=10,
    latents=first(x),
    output_type="np",
  ).images

  @jax.jit
  def ours(weights, said, null):
    def network(x, t, text):
      return model.predict(weights, x, t, base.Text(*text))

    both = [tuple(model.read(weights, caption)) for caption in (said, null)]
    predict = guidance.guided(network, *both, 7.5)
    found = samplers.follow(model.process, predict, x, model.times(10))
    return model.decoded(weights, found)

  said, null = model.caption(["a red cup", "snow"]), model.caption(["ugly"] * 2)
  found = np.clip(ours(weights, said, null) / 2 + 0.5, 0, 1)
  print(f"pipeline: {np.abs(found - expected).max():.1e}")
  np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_published_layouts(version):
  """Every tensor of the full sizes has its place, and there is no other."""
  with torch.device("meta"):
    unet = diffusers.UNet2DConditionModel(**published.UNET[version])
    coder = diffusers.AutoencoderKL(**published.CODER)
    text = transformers.CLIPTextModel(
      transformers.CLIPTextConfig(**published.TEXT[version])
    )
  net, channels = unet_file.made(published.UNET[version], "unet")
  of_text = tower.made(published.TEXT[version], "text")
  side = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
  of_coder = Autoencoder()
  for part, template, layouts, count in zip(
    (unet, coder, text),
    (
      unet_file.shapes(net, channels),
      jax.eval_shape(of_coder.init, jax.random.key(0), side),
      tower.shapes(of_text),
    ),
    ((unet_file.LAYOUT,), autoencoder_file.LAYOUTS, (clip.layout(23),)),
    published.COUNTS[version],
    strict=True,
  ):
    # Of a byte each, and that one once.
    tensors = {
      name: np.broadcast_to(False, x.shape)
      for name, x in part.state_dict().items()
    }
    if part is text:
      tensors = tower.named(tensors)
    template = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, bool), template
    )
    filled = convert(tensors, template, layouts)
    total = sum(x.size for x in jax.tree.leaves(filled))
    print(f"{version}: {len(tensors)} tensors, {total:,} numbers")
    assert total == count == sum(x.numel() for x in part.parameters())
