"""Providing: the models that `agent --llm` names."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from protojax.agents import (
  dialogue,
  embedded,
  gemini,
  human,
  openai_http,
  recorded,
)
from protojax.agents.parsing import Parser
from protojax.agents.providers import (
  EmbedProvider,
  ImageProvider,
  LLMProvider,
  Usage,
  VQAProvider,
)
from protojax.agents.recorded import Recording
from protojax.errors import UserError

ANSWERS = "answers.jsonl"  # beside a dialogue: what models answered
_REMOTE = {"openai_http": openai_http, "gemini": gemini}


class Models(NamedTuple):
  """What is asked.

  Attributes:
    parser: asks the model of language.
    images: makes pictures, or None.
    vqa: judges them, or None.
    embed: gives vectors of texts, or None.
    usage: counts.
  """

  parser: Parser
  images: ImageProvider | None
  vqa: VQAProvider | None
  embed: EmbedProvider | None
  usage: Usage


def models(
  args: argparse.Namespace,
  say: Callable[[str], None],
  listen: Callable[[], str | None],
) -> Models:
  """The models of a command; what they answer is kept in its folder.

  Args:
    args: of `agent`.
    say: shows a line to a person.
    listen: the next line that a person types.

  Raises:
    UserError: a flag is missing, or the address is none.
  """
  usage = Usage()
  if args.llm == "recorded":
    if not args.recording:
      raise UserError("--llm=recorded needs --recording=FILE")
    if not Path(args.recording).exists():
      raise UserError(f"{args.recording} is not there: name a recording")
    return replaying(Recording(args.recording, usage), args.seed)
  llm, images, vqa, embed = _made(args, usage, say, listen)
  kept = Recording(Path(args.output) / ANSWERS, usage)
  return Models(
    Parser(recorded.LLM(kept, llm.name, llm), usage, args.at_once, args.seed),
    images and recorded.Images(kept, images.name, images),
    vqa and recorded.VQA(kept, vqa.name, vqa),
    embed,
    usage,
  )


def replaying(recording: Recording, seed: int) -> Models:
  """Models that answer as they did.

  Raises:
    UserError: there is no answer of a model of language.
  """
  llm = recording.name("text")
  if not llm:
    raise UserError(f"{recording.path} has no answer of a model of language")
  images, vqa = recording.name("pictures"), recording.name("yes")
  return Models(
    Parser(recorded.LLM(recording, llm), recording.usage, 1, seed),
    recorded.Images(recording, images) if images else None,
    recorded.VQA(recording, vqa) if vqa else None,
    None,
    recording.usage,
  )


def _made(
  args: argparse.Namespace,
  usage: Usage,
  say: Callable[[str], None],
  listen: Callable[[], str | None],
) -> tuple[
  LLMProvider, ImageProvider | None, VQAProvider | None, EmbedProvider | None
]:
  if args.llm == "human":
    return human.LLM(say, listen), None, None, None
  if args.llm == "embedded":
    grammar = dialogue.embedded()
    return embedded.LLM(grammar), embedded.Images(grammar), None, None
  if not args.model:
    raise UserError(f"--llm={args.llm} needs --model=NAME")
  module = _REMOTE[args.llm]
  remote = module.remote(
    args.base_url, deadline=args.timeout, at_once=args.at_once, usage=usage
  )
  return (
    module.LLM(remote, args.model),
    module.Images(remote, args.image_model) if args.image_model else None,
    module.VQA(remote, args.vqa_model) if args.vqa_model else None,
    module.Embed(remote, args.embed_model) if args.embed_model else None,
  )
