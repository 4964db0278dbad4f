"""Convolutions, computed in the way that is fastest on the device.

On GPU and TPU this is XLA's own convolution. On CPU, a depthwise convolution is
faster as shifted multiply-adds, a 1x1 as a matmul, and one on a tiny map as
patches times a matrix. All ways agree to rounding (4e-6 of the largest value),
and so do their gradients. Backbones are built of it.
"""

from collections.abc import Callable, Iterator
import contextlib
import contextvars
import functools
from typing import Literal

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.types import UserError

# Most cells of an output for which patches and one matmul beat XLA's loop.
_TINY = 16
# Cells of a map that stay in the first-level cache while all taps read them.
_BLOCK = 128

# Padding by TensorFlow's "SAME" depends on the size of the map.
Padding = Literal["SAME", "VALID"] | tuple[int, int]

# Cells added (before, after) the rows and the columns.
Pads = tuple[tuple[int, int], ...]

# What functions are traced for; '' is this process's own device.
_PLATFORM = contextvars.ContextVar("platform", default="")


def convolve(
  x: Float[Array, "b h w c"],
  kernel: Float[Array, "kh kw i d"],
  stride: int = 1,
  padding: Padding = "SAME",
  dilation: int = 1,
) -> Float[Array, "b h2 w2 d"]:
  """Convolution (cross-correlation) without bias, dense or depthwise.

  The kernel of a dense convolution has i = c; that of a depthwise one has i = 1
  and d = c. "SAME" pads as TensorFlow does. The taps of the kernel lie
  `dilation` cells apart.

  Raises:
    UserError: the map is smaller than the kernel.
  """
  side, _, inputs, outputs = kernel.shape
  reach = (side - 1) * dilation + 1
  pads = tuple(same(n, reach, stride, padding) for n in x.shape[1:3])
  covered = min(n + sum(pad) for n, pad in zip(x.shape[1:3], pads, strict=True))
  if covered < reach:
    raise UserError(
      f"a kernel of {reach} cells meets a map of {covered}: the images are too"
      " small for this backbone; raise --config.data.image_size."
    )
  if dilation > 1:
    return direct(x, kernel, stride, pads, dilation)
  if not on_cpu():
    return direct(x, kernel, stride, pads)
  if inputs == 1 and outputs == x.shape[-1]:
    return depthwise(x, kernel, stride, pads)
  if side == 1 and stride == 1 and pads == ((0, 0), (0, 0)):
    return jnp.einsum("bhwc,cd->bhwd", x, kernel[0, 0])
  h, w = _out(x, side, stride, pads)
  if h * w <= _TINY:
    return patches(x, kernel, stride, pads)
  if inputs == x.shape[-1]:
    return dense(x, kernel, stride, pads)
  return direct(x, kernel, stride, pads)


def same(
  n: int, kernel: int, stride: int, padding: Padding = "SAME"
) -> tuple[int, int]:
  """Cells added before and after an axis of n cells.

  TensorFlow's "SAME" gives ceil(n / stride) cells; of an odd number of added
  cells, one more comes after.
  """
  if padding == "VALID":
    return 0, 0
  if padding != "SAME":
    return padding
  total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
  return total // 2, total - total // 2


def on_cpu() -> bool:
  """True if the function being traced will run on CPU."""
  return (_PLATFORM.get() or jax.default_backend()) == "cpu"


@contextlib.contextmanager
def traced_for(platform: str) -> Iterator[None]:
  """Functions that are traced within are those of "cpu", "gpu" or "tpu"."""
  token = _PLATFORM.set(platform)
  try:
    yield
  finally:
    _PLATFORM.reset(token)


def direct(
  x: Float[Array, "b h w c"],
  kernel: Float[Array, "k k i d"],
  stride: int,
  pads: Pads,
  dilation: int = 1,
) -> Float[Array, "b h2 w2 d"]:
  """XLA's convolution: the reference, and the way on accelerators."""
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    pads,
    rhs_dilation=(dilation, dilation),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=x.shape[-1] // kernel.shape[2],
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def dense(
  x: Float[Array, "b h w c"],
  kernel: Float[Array, "k k c d"],
  stride: int,
  pads: Pads,
) -> Float[Array, "b h2 w2 d"]:
  """XLA's convolution with a faster gradient to the map, for stride 1.

  This gradient is a convolution by the mirrored kernel with its channels
  exchanged. XLA mirrors and exchanges in one loop that jumps through memory; it
  takes four times as long as one after the other.
  """
  return direct(x, kernel, stride, pads)


def _dense_forward(x, kernel, stride, pads):
  return dense(x, kernel, stride, pads), (x, kernel)


def _dense_backward(stride, pads, saved, cotangent):
  x, kernel = saved
  # Without the barrier, the operations before are fused into the jumps below.
  x, cotangent = lax.optimization_barrier((x, cotangent))
  _, pull = jax.vjp(lambda x, k: direct(x, k, stride, pads), x, kernel)
  of_map, of_kernel = pull(cotangent)
  if stride == 1:
    reach = kernel.shape[0] - 1
    edges = tuple((reach - before, reach - after) for before, after in pads)
    exchanged = lax.optimization_barrier(kernel.swapaxes(2, 3))
    of_map = direct(cotangent, exchanged[::-1, ::-1], 1, edges)
  return of_map, of_kernel


dense.defvjp(_dense_forward, _dense_backward)


def patches(
  x: Float[Array, "b h w c"],
  kernel: Float[Array, "k k c d"],
  stride: int,
  pads: Pads,
) -> Float[Array, "b h2 w2 d"]:
  """Convolution as a matmul: every patch is a row, the kernel a matrix."""
  side = kernel.shape[0]
  h, w = _out(x, side, stride, pads)
  rows = jnp.concatenate(_taps(_pad(x, pads), side, stride, h, w), axis=-1)
  matrix = kernel.reshape(-1, kernel.shape[-1])
  return jnp.einsum("bhwr,rd->bhwd", rows, matrix)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise(
  x: Float[Array, "b h w c"],
  kernel: Float[Array, "k k 1 c"],
  stride: int,
  pads: Pads,
) -> Float[Array, "b h2 w2 c"]:
  """Sum of shifted copies of the map, each times one tap, in one loop.

  The gradient is written by hand: the derivative of a shift is a padding, and
  XLA takes 20 times as long for a sum of padded maps as of shifted ones.
  """
  side = kernel.shape[0]
  h, w = _out(x, side, stride, pads)
  taps = _taps(_pad(x, pads), side, stride, h, w)
  weights = kernel.reshape(-1, 1, 1, 1, kernel.shape[-1])
  terms = [tap * weight for tap, weight in zip(taps, weights, strict=True)]
  return functools.reduce(jnp.add, terms)


def _depthwise_forward(x, kernel, stride, pads):
  return depthwise(x, kernel, stride, pads), (x, kernel)


def _depthwise_backward(stride, pads, saved, cotangent):
  x, kernel = saved
  return (
    _gradient_of_map(cotangent, kernel, stride, pads, x.shape[1:3]),
    _gradient_of_kernel(x, cotangent, kernel.shape, stride, pads),
  )


depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _gradient_of_map(cotangent, kernel, stride, pads, size):
  """Spreads the cotangent by the stride, and filters by the mirrored kernel."""
  side = kernel.shape[0]
  edges = []
  for n, cells, (before, _) in zip(
    size, cotangent.shape[1:3], pads, strict=True
  ):
    spread = (cells - 1) * stride + 1
    edges.append((side - 1 - before, n + before - spread, stride - 1))
  zero = jnp.zeros((), cotangent.dtype)
  spread = lax.pad(cotangent, zero, ((0, 0, 0), *edges, (0, 0, 0)))
  # Without the barrier, the padding is computed again for every tap.
  spread = lax.optimization_barrier(spread)
  return depthwise(spread, kernel[::-1, ::-1], 1, ((0, 0), (0, 0)))


def _gradient_of_kernel(x, cotangent, shape, stride, pads):
  """Sum over all cells of cotangent times shifted map, block by block.

  One sum for each tap over the whole batch would read both maps from memory
  k * k times; a block of rows of one image is read once. One turn of the loop
  is one tap of one block: unrolled taps take twice as long to compile.
  """
  side, taps = shape[0], shape[0] ** 2
  batch, h, w, channels = cotangent.shape
  rows = max(n for n in range(1, h + 1) if h % n == 0 and n <= _rows(w))
  blocks = h // rows
  x = _pad(x, pads)
  window = (1, (rows - 1) * stride + 1, (w - 1) * stride + 1, channels)

  def add(turn, sums):
    block, tap = turn // taps, turn % taps
    image, row = block // blocks, block % blocks * rows
    corner = (image, row * stride + tap // side, tap % side, 0)
    seen = lax.dynamic_slice(x, corner, window)[:, ::stride, ::stride]
    weight = lax.dynamic_slice(
      cotangent, (image, row, 0, 0), (1, rows, w, channels)
    )
    terms = (seen * weight).astype(jnp.float32)
    return sums.at[tap].add(jnp.sum(terms, axis=(0, 1, 2)))

  # Float32 for a map of any type: a long sum in bfloat16 soon stops growing.
  zeros = jnp.zeros((taps, channels))
  sums = lax.fori_loop(0, batch * blocks * taps, add, zeros)
  return sums.reshape(shape).astype(x.dtype)


def _rows(w: int) -> int:
  return max(_BLOCK // w, 1)


def _out(x, side, stride, pads):
  """Cells of the output, (h, w)."""
  h, w = (
    (n + sum(pad) - side) // stride + 1
    for n, pad in zip(x.shape[1:3], pads, strict=True)
  )
  return h, w


def _pad(x, pads):
  return jnp.pad(x, ((0, 0), *pads, (0, 0)))


def _taps(x, side, stride, h, w):
  """Input of each tap of the kernel, [b, h, w, c], in row-major order."""
  batch, _, _, channels = x.shape
  reach_h, reach_w = (h - 1) * stride + 1, (w - 1) * stride + 1
  return [
    lax.slice(
      x,
      (0, i, j, 0),
      (batch, i + reach_h, j + reach_w, channels),
      (1, stride, stride, 1),
    )
    for i in range(side)
    for j in range(side)
  ]


class Conv(nn.Module):
  """A convolution with its parameter `kernel` [k, k, i, d].

  It computes in the type of the map.

  Attributes:
    channels: d; None is depthwise: one kernel for each channel of the input.
    kernel: side of the kernel.
    stride: step of the kernel in cells.
    padding: as in `convolve`.
    dilation: cells from one tap of the kernel to the next.
    bias: whether a bias [d] is added.
    start: initialiser of the kernel; None keeps the variance of maps through
      ReLU (He et al., 2015).
  """

  channels: int | None
  kernel: int = 1
  stride: int = 1
  padding: Padding = "SAME"
  dilation: int = 1
  bias: bool = False
  start: Callable[..., Array] | None = None

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
    """The convolution of the map."""
    inputs = x.shape[-1] if self.channels else 1
    outputs = self.channels or x.shape[-1]
    kernel = self.param(
      "kernel",
      # The fan-out of a depthwise kernel would count the taps of the other
      # channels.
      self.start
      or nn.initializers.variance_scaling(
        2.0, "fan_out" if self.channels else "fan_in", "normal"
      ),
      (self.kernel, self.kernel, inputs, outputs),
    )
    # The model of a run that was loaded is made of NumPy's arrays.
    kernel = jnp.asarray(kernel, x.dtype)
    y = convolve(x, kernel, self.stride, self.padding, self.dilation)
    if not self.bias:
      return y
    bias = self.param("bias", nn.initializers.zeros, (outputs,))
    return y + bias.astype(x.dtype)[None, None, None]
