"""Numbers in words and cells."""

import pytest

from protojax.report import block_text


@pytest.mark.parametrize(
  ("words", "expected"),
  [
    ("cosine -0.25 (-3)", "cosine \N{MINUS SIGN}0.25 (\N{MINUS SIGN}3)"),
    ("-0.00 to -0.05", "0.00 to \N{MINUS SIGN}0.05"),
    ("-0 and -0.", "0 and 0."),
    ("train-012, 3-5, a -b", "train-012, 3-5, a -b"),
  ],
)
def test_negative_numbers_in_words(words, expected):
  assert block_text.signed(words) == expected


def test_a_zero_has_no_sign():
  assert block_text.number(-0.0) == "0"
