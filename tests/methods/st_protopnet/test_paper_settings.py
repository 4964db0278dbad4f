"""Settings of the paper's code: rates, raw vectors, clipped cosines."""

import jax
import numpy as np
import pytest

from configs import st_protopnet_folder
from protojax import parallel
from protojax.engine import stage as stages
from protojax.methods.st_protopnet import branches
from protojax.prototypes.bank import with_vectors
from protojax.types import UserError
from tests.common import terms
from tests.methods.st_protopnet.st_models import BOTH, begun, fit, made


@pytest.mark.parametrize("alternate", [True, False])
def test_the_papers_rates_drop_at_its_epochs_and_stay(alternate):
  """Of the cropped images, in closed form; a branch counts its own updates."""
  cropped = st_protopnet_folder.get_config("cropped").joint.to_dict()
  method = made(
    alternate=alternate,
    **{f"joint.{k}": v for k, v in cropped.items() if k != "epochs"},
  )
  stage = fit(method, "joint")
  # The rates are those of groups, however many arrays they have.
  ones = {name: {name: np.ones(BOTH, np.float32)} for name in begun().params}
  # Of Adam a start is zeros.
  state = jax.tree.map(
    lambda x: np.zeros(x.shape, x.dtype),
    jax.eval_shape(stage.optimizer.init, ones),
  )
  epoch = method.dataset.shuffled().steps_per_epoch
  assert epoch == 3
  turns = BOTH if alternate else 1

  def counted(state, count):
    """The optimiser's state after so many updates of a group."""
    return jax.tree.map(
      lambda x: np.full_like(x, count) if x.dtype == np.int32 else x, state
    )

  @jax.jit
  def step(state):
    updates, _ = stage.optimizer.update(ones, state, ones)
    groups = updates["backbone"], updates["prototypes"]
    return [jax.tree.leaves(x)[0][0] for x in groups]

  first = np.asarray(step(counted(state, 0)))
  for joint in range(16):
    factor = 0.2 ** sum(joint + 5 >= n for n in (7, 9, 11, 13))
    # Adam's moments are zero, so an update is the rate times its correction.
    for part, own in enumerate((1, turns)):
      count = -(-joint * epoch // own)
      correction = np.sqrt(1 - 0.999 ** (count + 1)) / (1 - 0.9 ** (count + 1))
      expected = correction * factor / (np.sqrt(1e-3) / 0.1)
      found = np.asarray(step(counted(state, count)))[part] / first[part]
      np.testing.assert_allclose(found, expected, rtol=2e-3)


@pytest.mark.parametrize(
  "drops", [(4, 2), (0, 2), (2, 2), (2.5,), ("2",)], ids=str
)
def test_drops_that_are_no_epochs_are_refused(drops):
  with pytest.raises(UserError, match=r"--config\.joint\.drops is \("):
    made(**{"joint.drops": drops})


@pytest.mark.slow
def test_terms_of_raw_vectors_are_those_of_the_papers_code():
  """Of vectors of length 2, in closed form.

  Other terms are of directions either way. The gradient of a direction is
  that at length one, without what is along it, over the length.
  """
  methods_ = made(), made(**{"prototypes.raw": True})
  state = begun()
  bank = 2 * np.asarray(state.params["prototypes"]["prototypes"])
  state = state.replace(
    params={**state.params, "prototypes": {"prototypes": bank}}
  )
  rng = np.random.default_rng(0)
  batch = {
    "features": rng.normal(size=(12, 2, 2, 128)).astype(np.float32),
    "label": np.arange(12, dtype=np.int32) % 3,
  }

  @jax.jit
  def gradients(step, state, batch):
    """Of both methods' vectors, each branch's; and its vectors at length 1."""
    state = state.replace(buffers={**state.buffers, "step": step})

    def total(part, method):
      params = {**state.params, "prototypes": part}
      found, _ = method.branch_losses.loss(params, state, batch, terms.now())
      return terms.total(found)

    part = state.params["prototypes"]
    found = [
      branches.blocks(jax.grad(total)(part, method)["prototypes"], BOTH)
      for method in methods_
    ]
    return *found, branches.cut(part["prototypes"], BOTH)

  for step, kind in enumerate(made().kinds):
    directed, raw, unit = map(
      np.float64, gradients(np.int32(step), state, batch)
    )
    assert not raw[1 - step].any()
    along = (directed[step] * unit[step]).sum(-1)
    np.testing.assert_allclose(along, 0, atol=1e-5)
    weights = made().config[kind]
    slope = slope_between(unit[step], weights, kind)
    slope -= (slope * unit[step]).sum(-1, keepdims=True) * unit[step]
    expected = slope_between(2 * unit[step], weights, kind) - slope / 2
    found = raw[step] - directed[step]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(expected).max() > 0.1


def slope_between(bank, weights, kind):
  """The gradient of Orth, and of Discr or Close."""
  classes = bank.reshape(3, -1, bank.shape[-1])
  slope = np.zeros_like(classes)
  for c, own in enumerate(classes):
    sign = np.sign(own @ own.T - np.eye(len(own)))
    slope[c] += 2 * weights.orthogonality * sign @ own
    for n, other in enumerate(classes):
      if n == c:
        continue
      products = own @ other.T
      trivial = kind == "trivial"
      at = products.argmax() if trivial else products.argmin()
      i, j = np.unravel_index(at, products.shape)
      weight = weights.discrimination if trivial else -weights.closeness
      # Once for (c, n), once for (n, c).
      slope[c, i] += 2 * weight * other[j] / 6
  return slope.reshape(bank.shape)


@pytest.mark.slow
def test_clipped_cosines_are_the_masked_products_of_the_papers_code():
  """Its max over j of cos_ij times 0 or 1, which is never below 0."""
  methods_ = made(), made(clip_cosines=True)
  state = begun()
  rng = np.random.default_rng(0)
  # Prototypes of the first two classes are opposite to what images have.
  bank = state.params["prototypes"]["prototypes"].reshape(2, 6, 2, 8)
  bank = np.stack([bank[0, :, 0], bank[1, :, 1]])
  features = rng.normal(size=(12, 2, 2, 128)).astype(np.float32)
  embedded = jax.jit(methods_[0].network.embedded)
  z = np.asarray(embedded(state.params, state.statistics, features))
  each = np.stack(np.split(z.reshape(-1, z.shape[-1]), BOTH, axis=1))
  bank[:, :4] = -each.mean(1, keepdims=True)
  vectors = np.zeros((2, 6, 2, 8), np.float32)
  vectors[0, :, 0], vectors[1, :, 1] = bank
  state = with_vectors(state, vectors.reshape(12, 1, 1, 16))
  batch = {"features": features, "label": np.arange(12, dtype=np.int32) % 3}

  @jax.jit
  def found(state, batch):
    return [
      m.branch_losses.loss(state.params, state, batch, terms.now())[0]
      for m in methods_
    ]

  free, clipped = parallel.to_host(found(state, batch))
  unit = np.float64(bank)
  unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
  own = np.arange(3)[batch["label"]][:, None] == np.arange(6)[None] // 2
  for b, kind in enumerate(methods_[0].kinds):
    here = z[..., 8 * b : 8 * b + 8]
    cosine = np.einsum("bhwd,pd->bphw", here, unit[b]).max((2, 3))
    for name, mask in ("cluster", own), ("separation", ~own):
      value = [t[f"{kind}_{name}"].total / 12 for t in (free, clipped)]
      product = (cosine * mask).max(1).mean()
      np.testing.assert_allclose(value[1], 1 - product, rtol=1e-5)
      masked = np.where(mask, cosine, -np.inf).max(1).mean()
      np.testing.assert_allclose(value[0], 1 - masked, rtol=1e-5)
    assert free[f"{kind}_cluster"].total > clipped[f"{kind}_cluster"].total + 1


@pytest.mark.parametrize("parity", [True, False])
def test_batch_norm_of_a_frozen_backbone_may_use_the_batch(parity):
  """Nothing can be cached then, and the running averages move."""
  method = made(batch_norm_parity=parity)
  for name in "warm", "last layer":
    stage = fit(method, name)
    assert (stage.cached is None) == parity
    assert stage.loss.keywords == {"train": parity}


@pytest.mark.parametrize("varied", [True, False])
def test_warming_up_sees_augmented_images_as_the_paper_has_it(varied):
  method = made(**{"data.augment_frozen": varied})
  fits = [s for s in method.stages() if isinstance(s, stages.Fit)]
  found = {s.name: s.data.varies for s in fits}
  assert found == {"warm": varied, "joint": True, "last layer": varied}


def test_after_a_step_raw_vectors_have_length_one_even_at_rest():
  method = made(**{"prototypes.raw": True})
  channels = begun().params["prototypes"]["prototypes"].shape[-1]
  drawn = jax.jit(method.network.layer.init)(
    parallel.init_key(0), np.zeros((1, 1, 1, channels), np.float32)
  )["params"]
  drawn = parallel.to_host(drawn)
  lengths = np.linalg.norm(drawn["prototypes"][:, 0, 0], axis=1)
  assert lengths.min() > 1.01
  state = begun().replace(params={**begun().params, "prototypes": drawn})
  state = jax.jit(method.branch_losses.unit_length)(state)
  bank = np.asarray(state.params["prototypes"]["prototypes"])
  np.testing.assert_allclose(np.linalg.norm(bank, axis=-1), 1, atol=1e-6)
