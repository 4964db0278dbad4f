"""The token that each query and head of PEM picks: the most similar one.

Similarities of all tokens are never held: they are made for some tokens at a
time, and only the best so far is kept. No gradient goes through them.
"""

from typing import Any, NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from protojax.types import Array, ArrayLike

# Tokens whose similarities are held at a time.
CHUNK = 2048


class Picked(NamedTuple):
  """What queries have picked. Any: transformations store anything here.

  Attributes:
    token: number of the token, int32 [b q a].
    similarity: of the query and the token in the channels of the head, [b q a];
      -inf where every token is barred.
  """

  token: Any
  similarity: Any


class Read(NamedTuple):
  """What a layer's queries have read; jit drops what is ignored.

  Attributes:
    picked: the tokens.
    queries: what they were compared with, [b q c].
    keys: of all tokens, [b n c].
  """

  picked: Picked
  queries: Any
  keys: Any


def picked(
  keys: Float[ArrayLike, "b n c"],
  queries: Float[ArrayLike, "b q c"],
  heads: int,
  barred: Bool[ArrayLike, "b q n"],
  chunk: int = CHUNK,
  noise: Array | None = None,
) -> Picked:
  """For each query and head, the allowed token that is most similar.

  Among equal ones, the first; where every token is barred, token 0.

  Args:
    keys: of the tokens.
    queries: of the same width, which the heads divide among them.
    heads: a.
    barred: tokens that a query may not pick.
    chunk: tokens that are compared at a time.
    noise: a key; similarities are then random numbers, the same for each
      example.
  """
  keys, queries = map(lax.stop_gradient, map(jnp.asarray, (keys, queries)))
  b, n, c = keys.shape
  count = queries.shape[1]
  chunk = min(chunk, n)
  padding = -n % chunk
  keys = jnp.pad(keys, ((0, 0), (0, padding), (0, 0)))
  barred = jnp.pad(barred, ((0, 0), (0, 0), (0, padding)), constant_values=True)
  keys = keys.reshape(b, -1, chunk, heads, c // heads)
  barred = barred.reshape(b, count, -1, chunk)
  asked = queries.reshape(b, count, heads, c // heads)

  def better(best: Picked, part: tuple) -> tuple[Picked, None]:
    number, some, out = part
    if noise is None:
      found = jnp.einsum(
        "bnac,bqac->bqan", some, asked, precision=lax.Precision.HIGHEST
      )
    else:
      own = jax.random.fold_in(noise, number)
      found = jax.random.uniform(own, (1, count, heads, chunk))
    found = jnp.where(out[:, :, None], -jnp.inf, found)
    most = jnp.max(found, axis=-1)
    at = number * chunk + jnp.argmax(found, axis=-1).astype(jnp.int32)
    ahead = most > best.similarity
    return Picked(
      jnp.where(ahead, at, best.token), jnp.where(ahead, most, best.similarity)
    ), None

  shape = b, count, heads
  start = Picked(jnp.zeros(shape, jnp.int32), jnp.full(shape, -jnp.inf))
  parts = keys.shape[1]
  if parts == 1:
    return better(start, (0, keys[:, 0], barred[:, :, 0]))[0]
  each = jnp.arange(parts), jnp.moveaxis(keys, 1, 0), jnp.moveaxis(barred, 2, 0)
  return lax.scan(better, start, each)[0]


def taken(
  keys: Float[Array, "b n c"], token: Array, heads: int
) -> Float[Array, "b q c"]:
  """The picked tokens, the channels of each head from its own token."""
  b, n, c = keys.shape
  by_head = keys.reshape(b, n, heads, c // heads)
  found = jnp.take_along_axis(by_head, token[..., None], axis=1)
  return found.reshape(b, token.shape[1], c)


def barred(
  logits: Float[Array, "b q n"], parity: bool = False
) -> Bool[Array, "b q n"]:
  """Tokens outside of a query's last mask, where its logit is negative.

  A query whose mask is empty may pick any token.

  Args:
    logits: of the mask at the tokens.
    parity: the rule of the authors' code: it frees the queries of an image only
      if the masks of all of them are empty; a single one picks token 0.
  """
  out = lax.stop_gradient(logits) < 0
  empty = jnp.all(out, axis=-1, keepdims=True)
  if parity:
    empty = jnp.all(empty, axis=1, keepdims=True)
  return out & ~empty
