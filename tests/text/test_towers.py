"""Towers: names of foreign files, padding, frozen vectors, real sentences."""

import jax
import numpy as np
import pytest

from protojax import text
from protojax.text import bpe, clip, tables
from protojax.text.encoder import TextEncoder
from protojax.types import UserError
from protojax.weights import clip as files

WIDTH, WORDS, LENGTH = 8, 514, 12


@pytest.fixture(scope="module")
def small():
  """CLIP's tower with two blocks, which reads letters."""
  return TextEncoder(
    "small",
    clip.ClipText(WIDTH, 2, 2, 6, WORDS, LENGTH),
    bpe.from_merges((), LENGTH),
    blocks=2,
    width=WIDTH,
    channels=6,
    layouts=(clip.layout(2),),
  )


@pytest.fixture(scope="module")
def openai():
  """Random tensors under OpenAI's names."""
  rng = np.random.default_rng(0)
  shapes = {
    "token_embedding.weight": (WORDS, WIDTH),
    "positional_embedding": (LENGTH, WIDTH),
    "ln_final.weight": (WIDTH,),
    "ln_final.bias": (WIDTH,),
    "text_projection": (WIDTH, 6),
    "logit_scale": (),
    "visual.proj": (10, 6),
  }
  for i in range(2):
    block = f"transformer.resblocks.{i}."
    shapes |= {
      f"{block}attn.in_proj_weight": (3 * WIDTH, WIDTH),
      f"{block}attn.in_proj_bias": (3 * WIDTH,),
      f"{block}attn.out_proj.weight": (WIDTH, WIDTH),
      f"{block}attn.out_proj.bias": (WIDTH,),
      f"{block}mlp.c_fc.weight": (4 * WIDTH, WIDTH),
      f"{block}mlp.c_fc.bias": (4 * WIDTH,),
      f"{block}mlp.c_proj.weight": (WIDTH, 4 * WIDTH),
      f"{block}mlp.c_proj.bias": (WIDTH,),
    }
    for n in (1, 2):
      shapes[f"{block}ln_{n}.weight"] = shapes[f"{block}ln_{n}.bias"] = (WIDTH,)
  return {
    name: np.asarray(rng.normal(size=shape), np.float32)
    for name, shape in shapes.items()
  }


def hugging_face(tensors):
  """The same tensors as transformers names them."""
  found = {
    "logit_scale": tensors["logit_scale"],
    "text_projection.weight": tensors["text_projection"].T,
    "visual_projection.weight": tensors["visual.proj"].T,
    "text_model.embeddings.position_ids": np.arange(LENGTH)[None],
  }
  names = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
  }
  for name, new in names.items():
    found[f"text_model.{new}"] = tensors[name]
  for i in range(2):
    old, new = f"transformer.resblocks.{i}.", f"text_model.encoder.layers.{i}."
    for kind in ("weight", "bias"):
      parts = np.split(tensors[f"{old}attn.in_proj_{kind}"], 3)
      for part, x in zip("qkv", parts, strict=True):
        found[f"{new}self_attn.{part}_proj.{kind}"] = x
      for a, b in (
        ("attn.out_proj", "self_attn.out_proj"),
        ("mlp.c_fc", "mlp.fc1"),
        ("mlp.c_proj", "mlp.fc2"),
        ("ln_1", "layer_norm1"),
        ("ln_2", "layer_norm2"),
      ):
        found[f"{new}{b}.{kind}"] = tensors[f"{old}{a}.{kind}"]
  return found


def test_names_of_all_origins_give_the_same_tower(small, openai):
  expected = small.convert(openai)
  prefixed = {
    name if name.startswith(("visual", "logit")) else f"text.{name}": x
    for name, x in openai.items()
  }
  for tensors in (hugging_face(openai), prefixed):
    found = small.convert(tensors)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    joint = files.joint(tensors)
    np.testing.assert_array_equal(joint.visual, openai["visual.proj"])
    np.testing.assert_array_equal(joint.text, openai["text_projection"])
  np.testing.assert_array_equal(
    expected["layer_1"]["out"]["kernel"],
    openai["transformer.resblocks.0.attn.out_proj.weight"].T,
  )
  with pytest.raises(UserError, match=r"no visual.proj; give a file of CLIP"):
    files.joint({"text_projection": np.zeros(2), "logit_scale": np.zeros(())})


def test_a_file_of_another_tower_is_refused(small, openai, tmp_path):
  openai = dict(openai)
  del openai["ln_final.bias"]
  np.savez(tmp_path / "other.npz", **openai)
  message = r"is not of the text tower 'small': .*missing ln_final.bias"
  with pytest.raises(UserError, match=message):
    small.load(str(tmp_path / "other.npz"))
  with pytest.raises(UserError, match="has no weights of its own; give a file"):
    small.load()


def test_padding_and_neighbours_change_no_prompt(small):
  params = small.init(jax.random.key(0))
  found = small.encode(params, ["a longer", "dog"])
  assert found.tokens.shape == (2, 2, 9, WIDTH)
  # The state of the end is that of the last token.
  np.testing.assert_array_equal(found.pooled[:, 0], found.tokens[:, 0, -1])
  np.testing.assert_array_equal(found.pooled[:, 1], found.tokens[:, 1, 4])
  tokens = small.tokenize(["other 12", "dog"])
  ids = np.where(tokens.valid, tokens.ids, 7)
  other = small._step(params, ids, tokens.valid)
  for one, two in (
    (found.final[1], other.final[1]),
    (found.pooled[:, 1], other.pooled[:, 1]),
    (found.tokens[:, 1, :5], other.tokens[:, 1, :5]),
  ):
    np.testing.assert_allclose(one, two, atol=1e-6)
  assert not np.allclose(found.final[0], other.final[0])


def test_frozen_vectors_are_a_tree_of_arrays(small, openai, tmp_path):
  np.savez(tmp_path / "clip.npz", **openai)
  frozen = text.Frozen(small, str(tmp_path / "clip.npz"), ("dog", "cat"))
  made = frozen.make()
  like = jax.tree.map(lambda x: (x.shape, x.dtype), made)
  assert like == jax.tree.map(lambda x: (x.shape, x.dtype), frozen.shapes())
  states = small.encode(small.convert(openai), ("dog", "cat"))
  np.testing.assert_array_equal(made["final"], states.final)
  np.testing.assert_array_equal(made["pooled"], states.pooled)


def test_prompts_are_made_from_a_template():
  made = text.prompts("A photo of a {}.", ("dog", "traffic_light", "{x}"))
  assert made[1:] == ("A photo of a traffic light.", "A photo of a {x}.")
  for template in ("A photo.", "{} and {}"):
    with pytest.raises(UserError, match="expected one, in the place of"):
      text.prompts(template, ("dog",))


def test_towers_are_found_by_name():
  assert text.names() == ("clip_base", "clip_large", "minilm")
  with pytest.raises(UserError, match="clip_base"):
    text.load("bert")
  with pytest.raises(UserError, match="needs its vocabulary: give CLIP's"):
    text.load("clip_base").tokenize(["dog"])


def test_minilm_gives_the_vectors_of_the_original():
  try:
    encoder = text.load("minilm")
  except UserError as error:
    pytest.skip(str(error))
  texts = ("A photo of a dog.", "traffic light", "A picture of a puppy.")
  found = encoder.encode(encoder.load(), texts).final
  # By PyTorch and transformers' BertModel, the mean over the tokens.
  expected = [
    [-0.2343765, 0.34482592, 0.26506332, 0.27625537],
    [0.28048372, -0.02430716, 0.10525173, 0.19739553],
  ]
  np.testing.assert_allclose(found[:2, :4], expected, atol=5e-6)
  cosines = np.asarray(tables.unit(found)) @ np.asarray(tables.unit(found)).T
  assert cosines[0, 2] > 0.5 > 0.3 > cosines[0, 1]


def test_the_mean_cosine_tells_a_collapse():
  assert float(tables.mean_cosine(np.ones((3, 4)))) == pytest.approx(1)
  assert float(tables.mean_cosine(np.eye(3))) == pytest.approx(0)
  slope = jax.jit(jax.grad(lambda x: tables.unit(x).sum()))
  assert np.isfinite(slope(np.zeros((1, 2)))).all()
  table = tables.learned(jax.random.key(0), 100, 64)
  np.testing.assert_allclose(np.linalg.norm(table, axis=1).mean(), 1, atol=0.05)
