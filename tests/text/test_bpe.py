import gzip
import json
import random

import numpy as np
import pytest

from protojax.text import bpe
from protojax.types import UserError

MERGES = (
  *(("d", "o"), ("do", "g</w>"), ("c", "a"), ("ca", "t</w>"), ("p", "h")),
  *(("o", "t"), ("ph", "ot"), ("phot", "o</w>"), ("a", "n"), ("an", "d</w>")),
  *(("Ã", "©"), ("'", "s</w>"), ("1", "2</w>"), ("!", "!</w>")),
)
# CLIP's way to find words.
WORDS = (
  r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]"
  r"|[^\s\p{L}\p{N}]+"
)


@pytest.fixture(scope="module")
def tokenize():
  return bpe.from_merges(MERGES, 77)


def test_pairs_are_merged_in_their_order(tokenize):
  assert tokenize.pieces("A photo, DOG  cat's") == [
    *("a</w>", "photo</w>", ",</w>", "dog</w>", "cat</w>", "'s</w>")
  ]
  assert tokenize.pieces("12!! dogs") == [
    *("1</w>", "2</w>", "!!</w>", "do", "g", "s</w>")
  ]


def test_rows_are_in_the_order_of_clip(tokenize):
  assert tokenize.rows["!"] == 0
  assert tokenize.rows["!</w>"] == 256
  assert tokenize.rows["do"] == 512
  end = 512 + len(MERGES) + 1
  found = tokenize(["dog", "a"])
  np.testing.assert_array_equal(
    found.ids, [[end - 1, 513, end], [end - 1, 320, end]]
  )
  # As in OpenAI's vocabulary, where "a" behind which a word ends is 320.
  assert found.valid.all()


def test_it_splits_as_the_tokenizers_package(tokenize):
  tokenizers = pytest.importorskip("tokenizers", reason="an oracle")
  parts = tokenizers.pre_tokenizers
  oracle = tokenizers.Tokenizer(
    tokenizers.models.BPE(
      dict(tokenize.rows), list(MERGES), end_of_word_suffix="</w>"
    )
  )
  lower = tokenizers.normalizers.Sequence(
    [
      tokenizers.normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
      tokenizers.normalizers.Lowercase(),
    ]
  )
  oracle.normalizer = lower
  oracle.pre_tokenizer = parts.Sequence(
    [
      parts.Split(tokenizers.Regex(WORDS), behavior="removed", invert=True),
      parts.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
  )
  draw = random.Random(0)
  letters = "dogcatphn 12!'sé½²Ⅷ東\u0301,._"
  for _ in range(300):
    text = "".join(draw.choices(letters, k=14))
    assert tokenize.pieces(text) == oracle.encode(text).tokens, repr(text)


def test_all_three_kinds_of_files_give_the_same(tokenize, tmp_path):
  lines = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in MERGES), ""])
  (tmp_path / "merges.txt").write_text(lines)
  with gzip.open(tmp_path / "words.txt.gz", "wb") as file:
    file.write(lines.encode())
  for name, pairs in (
    ("old.json", [" ".join(pair) for pair in MERGES]),
    ("new.json", [list(pair) for pair in MERGES]),
  ):
    (tmp_path / name).write_text(json.dumps({"model": {"merges": pairs}}))
  for path in tmp_path.iterdir():
    found = bpe.read(path, 77)
    assert found.rows == tokenize.rows, path
    assert found.ranks == tokenize.ranks, path


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.json", b'{"model": 3}', "it has no merges"),
    ("b.txt", b"#version\na b c\n", "number 1 is .* expected two pieces"),
    ("c.txt.gz", b"no gzip", "is no vocabulary of CLIP"),
    ("d.json", b'{"model": {"merges": [[1, 2]]}}', "expected two pieces"),
  ],
)
def test_other_files_are_refused(name, content, message, tmp_path):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(UserError, match=message):
    bpe.read(tmp_path / name, 77)


def test_a_prompt_that_is_too_long_is_refused(tokenize):
  assert tokenize(["dog " * 75]).ids.shape == (1, 77)
  with pytest.raises(UserError, match="has 78 tokens, with those of its ends"):
    tokenize(["dog " * 76])
