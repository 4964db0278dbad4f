"""Proactive agents in the embedded world: all of them that is trained.

Hahn et al., "Proactive Agents for Multi-Turn Text-to-Image Generation Under
Uncertainty", ICML 2025 (arXiv 2412.06771), whose agents are language models;
`protojax.agents` has the agents. Here the grammar that beliefs come from is
counted over scenes; a network learns to answer questions about pictures (the
VQAScore of arXiv 2404.01291) and is calibrated on held-out scenes; an encoder
learns how alike pictures are; and the policy "learned" is fitted to self-play.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float
from ml_collections import ConfigDict
import numpy as np
import optax

from protojax import parallel
from protojax.agents import choices, judge, painting, scenes, selfplay
from protojax.agents import world as worlds
from protojax.agents.judge import Judge, Trained
from protojax.data import stream as stream_lib
from protojax.data.source import origin
from protojax.datasets.dataset import Dataset
from protojax.engine.optimizer import grouped, warmup_cosine
from protojax.engine.stage import Fit, Pass, steps
from protojax.engine.terms import Aux, Now, Term, of_whole_batch
from protojax.explain import in_blocks
from protojax.methods.base import NO_ASSETS, Capabilities, splits
from protojax.methods.proactive_agents import (
  asking,
  calibrating,
  counts,
  explanation,
  judging,
  settings,
)
from protojax.methods.proactive_agents.network import Network
from protojax.types import Array, Batch, Metrics, PyTree, State, UserError

# Questions that answers are calibrated and judged by, of each picture.
_QUESTIONS = 24
# Goals that the policy learns from are drawn with seeds of their own.
_LEARNED_FROM = 2_000_000


class Method:
  """What is trained; see `configs/proactive_agents_scenes.py`."""

  assets = NO_ASSETS
  capabilities = Capabilities(
    explains=functools.partial(
      in_blocks.Explainer, explanation.explain, in_blocks.LOCAL
    ),
    asks=lambda method: method,
  )

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    del class_names  # There are none.
    settings.require(config)
    self.config = config
    self.splits = splits(config.data.validation_fraction, patience=0)
    self.dataset = Dataset(config.data, config.seed, config.batch_size)

  @functools.cached_property
  def network(self) -> Network:
    """The layers."""
    return settings.network(self.config)

  def scenes(self, split: str) -> scenes.Scenes:
    """What the pictures of a split hold, in their order.

    Raises:
      UserError: its data set does not tell.
    """
    source, rows = origin(self.dataset.source(split))
    found = getattr(source, "scenes", None)
    if not isinstance(found, scenes.Scenes):
      raise UserError(
        f"--config.data.name={self.config.data.name}: nothing tells what its"
        " pictures hold; take dialogue_scenes"
      )
    return jax.tree.map(lambda x: x[rows], found)

  def truths(self, split: str) -> Bool[np.ndarray, "n k"]:
    """What is true of the pictures of a split."""
    return worlds.cells(self.scenes(split))

  def stream(self, split: str) -> stream_lib.Stream:
    """The pictures of a split in source order."""
    return self.dataset.ordered(split)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start; nothing is counted yet."""
    params, statistics = self.network.init(key)
    buffers = {
      "counts": counts.empty(self.scenes("train").size),
      "temperature": jnp.ones(()),
      "policy": jnp.zeros(choices.FEATURES),
    }
    return State(params, statistics, buffers)

  def stages(self) -> Iterator[Fit | Pass]:
    """Counts, answers, calibration, likeness, and the policy."""
    c, train = self.config, self.stream("train")
    data = self.dataset.shuffled(columns={"facts": self.truths("train")})
    yield Pass("grammar", self.count, train)
    yield Fit(
      "answers",
      self.answer_loss,
      data,
      self._optimizer(c.vqa.steps, "trunk", "looking", "answering"),
      steps(c.vqa.steps),
    )
    yield Pass("calibration", self.calibrate, self.stream("validation"))
    yield Fit(
      "encoder",
      self.likeness_loss,
      data,
      self._optimizer(c.encoder.steps, "encoder"),
      steps(c.encoder.steps),
    )
    yield Pass("policy", self.learn, train)

  def _optimizer(
    self, count: int, *groups: str
  ) -> optax.GradientTransformation:
    o = self.config.optimizer
    rate = warmup_cosine(o.rate, o.warmup, count)
    rule = optax.adamw(rate, weight_decay=o.weight_decay)
    return grouped(dict.fromkeys(groups, rule), o.clip_norm)

  def count(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """The grammar: training scenes, and how much each factor matters."""
    del data
    found = self.scenes("train")
    grammar = scenes.Grammar(found, painting.weights(found))
    buffers = {**state.buffers, "counts": counts.counted(grammar)}
    return state.replace(buffers=buffers), {"scenes": found.size}

  def answer_loss(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Cross-entropy of yes and no, of questions drawn anew in each step."""
    net = self.network
    keys = parallel.example_keys(now.key, batch["index"], batch.get("draw"))
    cells, yes = asking.drawn(batch["facts"], keys, self.config.vqa.questions)
    seen, statistics = net.seen(
      params, state.statistics, batch["image"], train=True
    )
    logits = net.answers(params, seen, cells)
    lost = optax.sigmoid_binary_cross_entropy(logits, yes)
    right = jnp.mean((logits > 0) == yes, axis=1)
    count = len(lost)
    term = Term(jnp.sum(jnp.mean(lost, axis=1)), count)
    return {"answers": term}, Aux(
      statistics, metrics={"right": Term(jnp.sum(right), count)}
    )

  def calibrate(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """The temperature at which held-out answers are likeliest."""
    logits, _ = self._seen(state, data)
    true = self.truths("validation")
    found = judging.asked(logits, true, _QUESTIONS, self.config.seed + 1)
    best = calibrating.temperature(found.logits.ravel(), found.yes.ravel())
    buffers = {**state.buffers, "temperature": np.float32(best)}
    return state.replace(buffers=buffers), {"temperature": best}

  def likeness_loss(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Cosines of pairs of pictures against the F1 of their facts."""
    del now
    net = self.network
    seen, _ = net.seen(params, state.statistics, batch["image"])
    own = net.vectors(params, jax.lax.stop_gradient(seen))
    facts = jnp.asarray(batch["facts"]) & judge.FACTS[None]
    whole = parallel.gather({"vectors": own, "facts": facts})
    cosines = jnp.einsum("id,jd->ij", whole["vectors"], whole["vectors"])
    facts = whole["facts"].astype(jnp.float32)
    sums = jnp.sum(facts, axis=1)
    both = jnp.einsum("ik,jk->ij", facts, facts)
    alike = 2 * both / jnp.maximum(sums[:, None] + sums[None], 1)
    apart = 1 - jnp.eye(len(alike))
    error = jnp.sum(apart * (cosines - alike) ** 2) / jnp.sum(apart)
    return {"likeness": of_whole_batch(error)}, Aux()

  def learn(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """The policy "learned", of dialogues with random questions."""
    del data
    p = self.config.policy
    world = worlds.world(counts.grammar(state.buffers["counts"]))
    seed = _LEARNED_FROM + self.config.seed
    goals = scenes.draw(p.goals, seed)
    found = selfplay.fit(world, goals, p.turns, self.config.seed)
    buffers = {**state.buffers, "policy": found.astype(np.float32)}
    return state.replace(buffers=buffers), {}

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """ "probabilities" [b k] of each cell of the world, and "vectors" [b v]."""
    logits, vectors = self.network.all_answers(state, batch["image"])
    scaled = logits / state.buffers["temperature"]
    return {
      "probabilities": jax.nn.sigmoid(scaled),
      "logits": logits,
      "vectors": vectors,
    }

  def _seen(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n v"]]:
    """Logits and vectors of all pictures of a stream."""
    logits, vectors = [], []
    for batch, rows in parallel.each(self.predict, state, data.batches()):
      logits.append(rows["logits"][batch["valid"]])
      vectors.append(rows["vectors"][batch["valid"]])
    return np.concatenate(logits), np.concatenate(vectors)

  def evaluate(self, state: State, split: str) -> Metrics:
    """Of answers, of captions against the exact scene, and of likeness.

    See `judging.measured` and `judging.against_oracle`; "likeness" is the
    correlation of cosines with the F1 of facts.
    """
    logits, vectors = self._seen(state, self.stream(split))
    true, seed = self.truths(split), self.config.seed
    temperature = float(state.buffers["temperature"])
    asked = judging.asked(logits, true, _QUESTIONS, seed)
    p = calibrating.probability(logits, temperature)
    alike = judging.of_vectors(vectors, true)
    return {
      **judging.measured(asked, temperature),
      **judging.against_oracle(p, true, seed),
      **({"likeness": alike} if np.isfinite(alike) else {}),
      "temperature": temperature,
    }

  def trained(self, state: State, name: str) -> Trained:
    """What agents use of it.

    Args:
      state: of the method.
      name: of the run, for messages.
    """
    buffers = jax.device_get(state.buffers)
    look = jax.jit(self.network.all_answers)

    def seen(images: Any) -> tuple[np.ndarray, np.ndarray]:
      logits, vectors = jax.device_get(look(state, images))
      temperature = float(buffers["temperature"])
      return calibrating.probability(logits, temperature), vectors

    return Trained(
      counts.grammar(buffers["counts"]),
      np.asarray(buffers["policy"]),
      Judge(name, functools.partial(judge.in_parts, seen)),
    )

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """Figures of the answers, and the policy that was learnt."""
    return {
      "headline": "auc",
      **stages[-1]["metrics"],
      "policy": np.asarray(state.buffers["policy"]).tolist(),
    }
