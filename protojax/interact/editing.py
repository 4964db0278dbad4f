"""Answers of a model after edits, from scores that are computed once.

The scores of images do not depend on which prototypes count. So an edit costs
the search for a head, and a product of scores and weights.
"""

from collections.abc import Sequence
import dataclasses
import functools
import hashlib
from typing import Any

import jax
from jaxtyping import Float, Int
import numpy as np

from protojax import parallel
from protojax.data.stream import Stream
from protojax.interact.edits import Edit, Effect, Model, applied
from protojax.prototypes import push
from protojax.prototypes.bank import with_bank
from protojax.prototypes.groups import CLASS
from protojax.types import State

_DIGITS = 16


class Answers:
  """The answers to the judged images.

  Attributes:
    probabilities: [n k].
    answer: [n], the most probable class.
  """

  def __init__(self, logits: Float[np.ndarray, "n k"]) -> None:
    away = np.exp(logits - logits.max(axis=1, keepdims=True))
    self.probabilities = away / away.sum(axis=1, keepdims=True)
    self.answer: Int[np.ndarray, " n"] = np.argmax(logits, axis=1)


@dataclasses.dataclass(frozen=True)
class Edited:
  """A model after edits.

  Attributes:
    state: of the model.
    effect: which prototypes are alive, and which weights must be 0.
    answers: to the judged images.
    left: what is left of the search for its head, as `Edits.nearly` tells it.
  """

  state: State
  effect: Effect
  answers: Answers
  left: float = 0.0


class Editor:
  """A model, the scores of its images, and its answers after edits.

  Attributes:
    edits: what the method says of its prototypes.
    state: of the model before any edit.
    judged: the images whose answers are compared, in source order.
    model: what edits are checked against.
  """

  def __init__(
    self,
    edits: Any,
    state: State,
    judged: Stream,
    training: Any,
    earlier: Sequence[Edit] = (),
  ) -> None:
    """Computes nothing yet.

    Args:
      edits: of the method, `engine.editable.Edits`.
      state: of the model.
      judged: images, with labels or without.
      training: gives the stream of the training images when called.
      earlier: the edits that made this model out of another.
    """
    self.edits, self.judged, self._training = edits, judged, training
    self.state = parallel.to_host(state)
    bank = edits.network.bank(self.state)
    class_of, alive = np.asarray(bank.class_of), np.asarray(bank.alive)
    names = edits.class_names
    forbidden = np.zeros((len(names), len(alive)), bool)
    for edit in earlier:
      if edit.kind == "forbid":
        forbidden[names.index(edit.of_class), list(edit.prototypes)] = True
    owned = edits.network.groups.kind == CLASS
    self.model = Model(names, class_of, alive, forbidden, edits.merges, owned)
    self._edited = functools.lru_cache(maxsize=4)(self._edit)

  @functools.cached_property
  def digest(self) -> str:
    """16 hexadecimal digits that identify the model and its head."""
    digest = hashlib.blake2b(digest_size=_DIGITS // 2)
    whole = self.state
    digest.update(
      push.embedder_digest(
        whole.params, whole.statistics, whole.assets
      ).tobytes()
    )
    for leaf in jax.tree.leaves((whole.params["head"], self.model.alive)):
      digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()

  @functools.cached_property
  def _scores(self) -> Float[np.ndarray, "n p"]:
    return self.edits.scores(self.state, self.judged)

  @functools.cached_property
  def _kept(self) -> Any:
    """The training images' scores, where the head is solved for."""
    if not self.edits.solves:
      return ()
    stream = self._training()
    kept = self.edits.kept(self.edits.scores(self.state, stream), stream)
    # Compiles the search, and finds the head that all others start near: so
    # that they do not depend on what was asked before.
    self.edits.solved(self.state, kept, self.model.forbidden)
    return kept

  @functools.cached_property
  def before(self) -> Answers:
    """The answers without an edit."""
    return self._answers(self.state)

  @functools.cached_property
  def reference(self) -> Answers | None:
    """The answers of the classifier that is explained; None without one."""
    found = self.edits.reference(self.state)
    if found is None:
      return None
    weight, bias = found
    return Answers(self._scores @ np.asarray(weight).T + np.asarray(bias))

  def ready(self) -> None:
    """Computes what every edit needs, so that the first one is fast, too.

    Raises:
      UserError: there are no training images, or they take too much memory.
    """
    _, _, _ = self.before, self.reference, self._kept

  def check(self, edits: Sequence[Edit], where: str = "") -> Effect:
    """What is left after edits: `edits.applied`."""
    return applied(edits, self.model, where)

  def __call__(
    self, edits: Sequence[Edit], where: str = "", nearly: bool = False
  ) -> Edited:
    """The model after edits; without any, as it is.

    Args:
      edits: in order.
      where: start of messages about mistakes, such as the name of a file.
      nearly: answer sooner, by a head that is near the best one.

    Raises:
      UserError: an edit cannot be, or the head cannot be solved for.
    """
    effect = self.check(edits, where)
    if not edits:
      return Edited(self.state, effect, self.before)
    # Reasons and words do not change an answer.
    found = effect.alive.tobytes(), effect.forbidden.tobytes()
    return self._edited(*found, nearly)

  def _edit(self, alive: bytes, forbidden: bytes, nearly: bool) -> Edited:
    effect = Effect(
      np.frombuffer(alive, bool),
      np.frombuffer(forbidden, bool).reshape(self.model.forbidden.shape),
    )
    state, left = self.without(effect), 0.0
    if nearly:
      state, left = self.edits.nearly(state, self._kept, effect.forbidden)
    else:
      state = self.edits.solved(state, self._kept, effect.forbidden)
    return Edited(state, effect, self._answers(state), left)

  def without(self, effect: Effect) -> State:
    """The state whose other prototypes are dead; its head is as before."""
    bank = self.edits.network.bank(self.state)
    return with_bank(self.state, bank.replace(alive=effect.alive))

  def points(
    self, edited: Edited
  ) -> tuple[Float[np.ndarray, "k p"], Float[np.ndarray, " p"]]:
    """Weights of the head, and the mean score of each prototype."""
    weights = np.asarray(self.edits.network.weights(edited.state))
    return weights, self._scores.mean(axis=0)

  def _answers(self, state: State) -> Answers:
    weights = np.asarray(self.edits.network.weights(state))
    bias = np.asarray(self.edits.network.bias(state))
    return Answers(self._scores @ weights.T + bias[None])
