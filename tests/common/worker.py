"""One process of a run on several devices; `test_devices.py` starts it.

python tests/common/worker.py OUT.npz CHECKPOINT [--distributed]

From the checkpoint (made by the first process that finds none) it trains
twenty steps, then pushes, scores and explains, and stores all numbers.
"""

from pathlib import Path
import sys

import jax
import numpy as np

from configs import protopnet_photos
from protojax import methods, parallel
from protojax.data import pipeline
from protojax.train import stage as stages
from protojax.train.checkpoint import Checkpoints, Progress, restore_state

STEPS = 20
EXPLAINED = 12


def main(out: str, checkpoint: str, distributed: bool) -> None:
  parallel.setup(distributed)
  config = protopnet_photos.get_config("debug").unlock()
  config.batch_size = 26
  method = methods.load(config)
  state = _state(method, Path(checkpoint))

  joint = next(s for s in method.stages() if s.name == "joint")
  joint = stages.Fit(**{**vars(joint), "length": stages.steps(STEPS)})
  moments = joint.optimizer.init(state.params)
  losses = []
  for update in stages.fit(joint, state, moments, parallel.key(7)):
    losses.append(float(parallel.to_host(update.metrics["loss"])))
    for leaf in jax.tree.leaves((update.state, update.optimizer_state)):
      copies = [np.asarray(s.data) for s in leaf.addressable_shards]
      for copy in copies[1:]:
        np.testing.assert_array_equal(copies[0], copy)

  train = method.stream("train")
  pushed, metrics = method.push(state, train)
  few = pipeline.ordered(_First(train.source), 32, config.batch_size)
  scores = [
    rows["similarities"]
    for _, rows in parallel.each(method.predict, pushed, few.batches())
  ]
  explained = list(
    method.explain(pushed, few, split="train", scope="both", keep_all=True)
  )
  local = [e.whole.delta for e in explained if hasattr(e, "whole")]
  because = [e.because["train"] for e in explained if hasattr(e, "because")]
  overall = [
    [*b.scores.values(), *(end for i in b.intervals.values() for end in i)]
    for b in because
  ]
  provenance = pushed.buffers["provenance"]
  if parallel.is_primary():
    np.savez(
      out,
      devices=parallel.device_count(),
      losses=losses,
      prototypes=pushed.params["prototypes"]["prototypes"],
      image=provenance.image,
      cell=provenance.cell,
      moved=metrics["moved_mean"],
      scores=np.concatenate(scores)[:EXPLAINED],
      local=np.stack(local),
      overall=np.array(overall),
    )


class _First:
  """The first images of a source."""

  def __init__(self, source):
    self._source = source
    self.class_names, self.skipped = source.class_names, ()
    self.labels = source.labels[:EXPLAINED]
    self.name, self.digest = source.name, source.digest

  def __len__(self):
    return EXPLAINED

  def __getitem__(self, i):
    return self._source[i]


def _state(method, folder):
  checkpoints = Checkpoints(folder)
  if not checkpoints.exists():
    state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
    state, _ = method.start(state, method.stream("train"))
    checkpoints.save(Progress(), state, {})
  checkpoints.close()
  template = jax.eval_shape(method.init, parallel.key(0))
  return restore_state(folder, template)[0]


if __name__ == "__main__":
  main(sys.argv[1], sys.argv[2], "--distributed" in sys.argv)
