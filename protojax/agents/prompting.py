"""What models of language are told to do, in our own words.

A request is a task and its fields: the task is what the system says, and each
field is a line of the user's, its value as JSON.
"""

import json
from typing import Any, Literal, TypedDict

from protojax import json_files
from protojax.agents.providers import Message

MOST_ENTITIES, MOST_ATTRIBUTES, MOST_CANDIDATES = 8, 5, 5

ENTITIES = f"""\
You plan a picture with a person who has told you a little of it. List what the
picture may show: at most {MOST_ENTITIES} entities.
- "explicit": the description names it. Its probability is 1.
- "implicit": the description does not name it, but such pictures often show it.
  Its probability says how often.
- "background": not a thing but the whole picture: its style, the weather, the
  time of day, the camera's angle, the light. Its probability is 1.
"importance", from 0 to 1, says how much the picture changes with it. Names are
short and in the singular, and no two are alike. Keep the "known" names for what
they stand for. If the description names nothing that can be seen, list nothing.
"""

ATTRIBUTES = f"""\
You plan a picture with a person who has told you a little of it. List at most
{MOST_ATTRIBUTES} attributes of the given entity that the picture depends on,
such as colour, size, material, pose or number. Of a background entity list one
attribute, with the entity's own name. For each, list the values that it may
have, at most {MOST_CANDIDATES}, with probabilities that sum to 1. What the
description says has one value of probability 1; what it leaves open has
several, as often as such pictures have them. "importance", from 0 to 1, says
how much the picture changes with the attribute.
"""

RELATIONS = f"""\
You plan a picture with a person who has told you a little of it. Of those pairs
of the given entities whose places in the picture matter, say how the first
stands to the second. List the values that are likely, at most
{MOST_CANDIDATES}, with probabilities that sum to 1: left of, right of, above,
below, in front of, behind, or other words for what is none of these. What the
description says has one value of probability 1. "importance", from 0 to 1, says
how much it matters. "mutual" is whether it is the same the other way round. A
pair is listed once.
"""

MERGE = """\
A person describes a picture, and has answered a question about it.
- "statement": question and answer as one declarative sentence. "No" makes it a
  negative one.
- "description": the description with that sentence worked into it. Lose
  nothing, add nothing else, keep every negation.
- "facts": what the answer says, one by one. "entity" is what it is about,
  "attribute" which property of it, "value" which value. Of how it stands to
  another entity, "second" names that one and the attribute is "position". Of
  whether it is in the picture at all, the attribute is "" and the value "yes"
  or "no". "second" is "" otherwise. "about" is what the question asks for, if
  that is known: use these names. If the answer says nothing that can be seen,
  list no facts.
"""

ASK_BY_BELIEF = """\
You plan a picture with a person. You are given their description, your belief
of the picture with probabilities and importances, and what was asked before.
Ask the one question whose answer tells you most about what matters: something
that is important and of which you are uncertain. Do not ask again what was
answered. Write it between <question> and </question>, and nothing between them
if there is nothing left to ask.
"""

ASK_BY_PRINCIPLES = """\
You plan a picture with a person. You are given your dialogue so far. Ask one
more question. Good questions
- are short, clear and about one thing;
- begin with what the picture shows, then ask for looks, for where things are,
  and for the style of the whole;
- are about what would change the picture most, and not about what was said;
- can be answered by someone who sees the picture before them.
Write it between <question> and </question>, and nothing between them if there
is nothing left to ask.
"""

ANSWER = """\
You are someone who wants a picture, and knows it as the given goal describes
it. Answer the question truly and in a few words, from the goal. What the goal
does not say is as "otherwise" says. If neither says it, say "I don't know". Do
not tell what was not asked. Write the answer between <answer> and </answer>.
"""

SHORTEN = """\
Say in at most twelve words what the described picture shows: its main things,
without their properties. Write it between <prompt> and </prompt>.
"""


class _Candidate(TypedDict):
  name: str
  probability: float


class _Entity(TypedDict):
  name: str
  kind: Literal["explicit", "implicit", "background"]
  importance: float
  probability: float
  description: str


class Entities(TypedDict):
  """What `ENTITIES` asks for."""

  entities: list[_Entity]


class _Attribute(TypedDict):
  name: str
  importance: float
  candidates: list[_Candidate]


class Attributes(TypedDict):
  """What `ATTRIBUTES` asks for."""

  attributes: list[_Attribute]


class _Relation(TypedDict):
  first: str
  second: str
  importance: float
  mutual: bool
  candidates: list[_Candidate]


class Relations(TypedDict):
  """What `RELATIONS` asks for."""

  relations: list[_Relation]


class _Fact(TypedDict):
  entity: str
  attribute: str
  second: str
  value: str


class Merged(TypedDict):
  """What `MERGE` asks for."""

  statement: str
  description: str
  facts: list[_Fact]


def request(task: str, **fields: Any) -> list[Message]:
  """The messages of a task."""
  lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
  return [
    {"role": "system", "content": task},
    {"role": "user", "content": "\n".join(lines)},
  ]


def fields(message: Message) -> dict[str, Any]:
  """Those of a request."""
  first, _, _ = message["content"].partition("\n\n")
  found = (line.partition(": ") for line in first.split("\n"))
  return {name: json_files.parsed(value, Any) for name, _, value in found}
