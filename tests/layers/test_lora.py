"""Low-rank adapters: closed forms, and directions that stay apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.layers import lora


def _adapter(seed, inputs=9, outputs=7, rank=2):
  rng = np.random.default_rng(seed)
  return lora.Adapter(
    *(
      np.float32(rng.normal(size=shape))
      for shape in ((rank, inputs), (rank,), (rank, outputs))
    )
  )


def _kernel(seed=0, inputs=9, outputs=7):
  rng = np.random.default_rng(seed)
  return np.float32(rng.normal(size=(inputs, outputs)))


def test_a_new_adapter_changes_nothing():
  made = lora.create(jax.random.key(0), 9, 7, 2)
  kernel = _kernel()
  np.testing.assert_array_equal(lora.merged(kernel, [made, made]), kernel)
  assert 0.3 < np.std(made.down) < 0.7  # 1 / r


def test_merged_is_the_layer_with_its_adapters():
  kernel, x = _kernel(), _kernel(3, 5, 9)
  adapters = [_adapter(1), _adapter(2)]
  expected = x @ kernel
  for a in adapters:
    expected = expected + ((x @ a.down.T) * a.scale) @ a.up
  found = x @ np.asarray(lora.merged(kernel, adapters))
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_singular_values_of_a_change_are_the_scales():
  rng = np.random.default_rng(0)
  down, up = (np.linalg.qr(rng.normal(size=(n, 2)))[0].T for n in (9, 7))
  scale = np.float32([3.0, -0.5])
  made = lora.Adapter(np.float32(down), scale, np.float32(up))
  assert float(lora.orthonormality(made)) < 1e-10
  values = np.linalg.svd(lora.change(made), compute_uv=False)
  np.testing.assert_allclose(values[:2], [3.0, 0.5], rtol=1e-5)
  np.testing.assert_allclose(values[2:], 0, atol=1e-5)


def test_projected_adapters_are_orthogonal_to_all_that_was_learned():
  kernel = lora.truncated(_kernel(0, 12, 11) @ _kernel(1, 11, 11), 0.6)
  before = [_adapter(1, 12, 11), _adapter(2, 12, 11)]
  bases = lora.bases(kernel, before, True, columns=12)
  for basis in bases:
    own = basis.T @ basis
    used = np.diag(own) > 0.5
    np.testing.assert_allclose(own, np.diag(np.float32(used)), atol=1e-6)
  made = lora.projected(_adapter(3, 12, 11), bases)
  for a in before:
    assert np.abs(made.down @ a.down.T).max() < 1e-5
    assert np.abs(made.up @ a.up.T).max() < 1e-5
  assert np.abs(made.down @ kernel).max() < 1e-5
  assert np.abs(kernel @ made.up.T).max() < 1e-5
  again = lora.projected(made, bases)
  np.testing.assert_allclose(again.down, made.down, atol=1e-6)


def test_without_protection_the_kernel_may_be_changed_everywhere():
  bases = lora.bases(_kernel(), [_adapter(1)], False, columns=5)
  assert bases.inputs.shape == (9, 5)
  assert int((np.abs(bases.inputs).sum(axis=0) > 0).sum()) == 2
  first = lora.bases(_kernel(), [], True, columns=9)
  assert int((np.abs(first.outputs).sum(axis=0) > 0).sum()) == 7


@pytest.mark.parametrize("energy", [0.5, 0.9, 0.99])
def test_truncation_keeps_the_energy_with_the_lowest_rank(energy):
  kernel = _kernel(0, 20, 16) * np.float32(0.7) ** np.arange(16)[None]
  made = lora.truncated(kernel, energy)
  values = np.linalg.svd(kernel, compute_uv=False).astype(float) ** 2
  rank = np.linalg.matrix_rank(made, tol=1e-4)
  assert values[:rank].sum() > energy * values.sum()
  assert values[: rank - 1].sum() <= energy * values.sum()
  kept = np.sum(made.astype(float) ** 2)
  np.testing.assert_allclose(kept, values[:rank].sum(), rtol=1e-4)


def test_surgery_changes_the_gradient_alone():
  rows, learned, target = _kernel(0, 2, 9), _kernel(1, 3, 9), _kernel(2, 2, 9)

  def loss(rows):
    return jnp.sum((lora.surgery(rows, learned) - target) ** 2)

  value, found = jax.value_and_grad(loss)(jnp.asarray(rows))
  np.testing.assert_allclose(value, np.sum((rows - target) ** 2), rtol=1e-5)
  plain = 2 * (rows - target)
  expected = plain - plain @ learned.T @ learned
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_before_the_first_task_nothing_is_learned():
  found, empty = (
    lora.bases(_kernel(), [], False, columns=4),
    lora.empty_bases(9, 7, 4),
  )
  for basis, zeros in zip(found, empty, strict=True):
    np.testing.assert_array_equal(basis, zeros)
