"""The images of a method with a backbone."""

import functools

from ml_collections import ConfigDict

from protojax import backbones
from protojax.datasets.dataset import Dataset, Open, open_split


def dataset(
  config: ConfigDict,
  class_names: tuple[str, ...] | None,
  open_split: Open = open_split,
) -> Dataset:
  """The data set of a config, resized as its backbone's weights want it.

  Args:
    config: of the run; its `backbone` is asked for `data.resize=weights`.
    class_names: of a trained run; None takes those of the data.
    open_split: opens a split.

  Raises:
    UserError: the config says not how images are resized.
  """
  b = config.backbone
  return Dataset(
    config.data,
    config.seed,
    config.batch_size,
    class_names,
    open_split,
    of_weights=functools.partial(backbones.preprocessing, b.name, b.weights),
  )
