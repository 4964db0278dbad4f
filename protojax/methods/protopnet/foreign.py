"""Imports ProtoPNets that other code has trained.

That is ProtoPNet's own code, CaBRNet, and EvalProtoPNet.
"""

from pathlib import Path

from protojax.methods.protopnet import (
  cabrnet,
  evalprotopnet,
  foreign_state,
  own_checkpoint,
)
from protojax.methods.protopnet.foreign_state import (
  Classifier,
  described,
  settings,
)
from protojax.methods.protopnet.method import Method
from protojax.types import Metrics, PyTree, State
from protojax.weights import pytorch
from protojax.weights.yaml_keys import Keys

# What is declared of checkpoints; see `protojax.methods`.
__all__ = [
  "SYSTEMS",
  "config",
  "described",
  "pushed",
  "read",
  "recognised",
  "settings",
  "state",
]
SYSTEMS = (
  "ProtoPNet's code (tensors features.*, add_on_layers.*, prototype_vectors,"
  " last_layer.weight), EvalProtoPNet's (activation_weight in place of the last"
  " layer), or a ProtoPNet of CaBRNet (extractor.convnet.*)"
)


def recognised(module: pytorch.Module) -> bool:
  """Whether the content of a file is a ProtoPNet's."""
  return (
    cabrnet.recognised(module.tensors)
    or evalprotopnet.recognised(module)
    or own_checkpoint.recognised(module)
  )


def read(module: pytorch.Module, arch: Path, image_size: int) -> Classifier:
  """The classifier of a file.

  Args:
    module: the content of the file.
    arch: path of CaBRNet's model_arch.yml, which only its files need.
    image_size: side of an image in pixels; 0 takes that of the file.

  Raises:
    UserError: it is of another system, or something is missing or superfluous.
  """
  if cabrnet.recognised(module.tensors):
    return cabrnet.read(module.tensors, Keys.read(arch), image_size)
  if evalprotopnet.recognised(module):
    return evalprotopnet.read(module, image_size)
  return own_checkpoint.read(module, image_size)


def config(found: Classifier) -> str:
  """Our config for what a checkpoint does not tell."""
  del found
  return "protopnet_folder:paper"


def state(found: Classifier, template: PyTree, method: Method) -> State:
  """The state of the method with these weights."""
  return foreign_state.state(found, template, method.network.backbone)


def pushed(method: Method, state: State) -> tuple[State, Metrics]:
  """The state with prototypes that are patches of training images."""
  return method.push(state, method.stream("train"))
