"""Providers against a server on this machine, which is at times a bad one."""

import json
import logging
from typing import Literal, TypedDict

import jsonschema
import numpy as np
import pytest

from protojax.agents import (
  gemini,
  human,
  openai_http,
  prompting,
  providers,
  recorded,
  replies,
)
from protojax.agents.graph import Graph
from protojax.agents.providers import Usage
from protojax.types import UserError
from tests.agents.provider_stub import KEY, draws, fails, says, serving, spoken

MODULES = {"openai_http": openai_http, "gemini": gemini}
ASKED = [
  {"role": "system", "content": "be brief"},
  {"role": "user", "content": "which colour?"},
]
of_both = pytest.mark.parametrize("protocol", sorted(MODULES))


class Answer(TypedDict):
  colour: Literal["red", "blue"]
  share: float


GOOD = '{"colour": "red", "share": 0.5}'


@pytest.fixture(autouse=True)
def keys(monkeypatch, caplog):
  """The key is known, and in nothing that is logged."""
  for module in MODULES.values():
    monkeypatch.setenv(module.KEY_VARIABLE, KEY)
  with caplog.at_level(logging.DEBUG):
    yield
  assert KEY not in caplog.text


def remote(protocol, base, **limits):
  limits = {"deadline": 60.0, "wait": lambda seconds: None, **limits}
  return MODULES[protocol].remote(base, **limits)


def llm(protocol, base, **limits):
  return MODULES[protocol].LLM(remote(protocol, base, **limits), "model-1")


@of_both
def test_what_is_sent_is_of_the_protocol(protocol):
  with serving(says("red")) as (base, stub):
    found = llm(protocol, base)
    form = providers.schema(Answer)
    texts = found.generate(ASKED, json_schema=form, seed=5, n=2)
  assert texts == ["red", "red"]
  assert found.name == f"{protocol} model-1"
  usage = found.remote.usage
  assert (usage.requests, usage.words_in, usage.words_out) == (2, 14, 6)
  (path, headers, content), (_, _, other) = stub.asked
  if protocol == "gemini":
    assert path == "/v1/models/model-1:generateContent"
    assert headers["x-goog-api-key"] == KEY
    assert content["systemInstruction"]["parts"] == [{"text": "be brief"}]
    assert [c["role"] for c in content["contents"]] == ["user"]
    config, later = content["generationConfig"], other["generationConfig"]
    assert config["responseSchema"]["type"] == "OBJECT"
    assert "additionalProperties" not in json.dumps(config)
  else:
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert content["messages"] == ASKED
    assert content["model"] == "model-1"
    config, later = content, other
    assert config["response_format"]["json_schema"]["schema"] == form
  assert config["temperature"] == 0
  assert (config["seed"], later["seed"]) == (5, 6)
  assert KEY not in repr(found)
  assert KEY not in path


@of_both
def test_a_busy_server_is_asked_again(protocol):
  """As late as it says, or later each time; with an end."""
  waited = []
  busy = fails(429, b"{}", Retry_After="7")
  with serving(busy, fails(503), says("red")) as (base, _):
    found = llm(protocol, base, deadline=60.0, wait=waited.append)
    assert found.generate(ASKED) == ["red"]
  assert waited[0] == 7
  assert 0.5 <= waited[1] <= 1
  assert found.remote.usage.retries == 2
  with (
    serving(busy) as (base, stub),
    pytest.raises(UserError, match=r"answers 429 Too Many Requests$"),
  ):
    llm(protocol, base, deadline=60.0, tries=3).generate(ASKED)
  assert len(stub.asked) == 3


def test_a_server_that_asks_for_more_time_than_there_is():
  late = fails(429, b"{}", Retry_After="Fri, 01 Jan 2100 00:00:00 GMT")
  with (
    serving(late) as (base, stub),
    pytest.raises(UserError, match="answers 429"),
  ):
    llm("openai_http", base).generate(ASKED)
  assert len(stub.asked) == 1


@of_both
def test_a_server_that_is_down(protocol):
  with serving(says("red")) as (base, _):
    pass
  with pytest.raises(UserError, match=r"does not answer: connection refused$"):
    llm(protocol, base, tries=2).generate(ASKED)


SLOW = [(0.1, b" ")] * 40
SILENT = [(4, b"{}")]


@pytest.mark.parametrize("body", [SILENT, SLOW], ids=["silent", "slow"])
def test_an_answer_for_hours_has_an_end(body):
  """A byte now and then never is a time-out of the connection."""
  with (
    serving(lambda path, content: (200, {}, body)) as (base, _),
    pytest.raises(UserError, match=r"does not answer: nothing within 0\.4 s"),
  ):
    llm("openai_http", base, deadline=0.4).generate(ASKED)


@of_both
@pytest.mark.parametrize(
  ("body", "message"),
  [
    (b"<html>", "sent is not valid JSON"),
    (b'{"choices": 3, "candidates": 3}', r"sent holds 3 at (choic|candid)"),
    (b'{"choices": [], "candidates": []}', "answers nothing"),
    (b"[1]", "sent holds"),
  ],
)
def test_what_is_no_answer(protocol, body, message):
  with (
    serving(fails(200, body)) as (base, _),
    pytest.raises(UserError, match=message) as caught,
  ):
    llm(protocol, base).generate(ASKED)
  assert "\n" not in str(caught.value)


@of_both
def test_the_key_is_in_no_message(protocol):
  """Though the server repeats it."""
  body = json.dumps({"error": {"message": f"wrong key {KEY}!"}}).encode()
  with (
    serving(fails(401, body)) as (base, _),
    pytest.raises(UserError, match=r"wrong key \*\*\*!'; \w+_API_KEY holds"),
  ):
    llm(protocol, base).generate(ASKED)
  with (
    serving(fails(302, b"{}", Location="http://127.0.0.1:9/")) as (base, _),
    pytest.raises(UserError, match="answers 302"),
  ):
    llm(protocol, base).generate(ASKED)
  with pytest.raises(UserError, match="would travel unencrypted") as caught:
    llm(protocol, "http://models.example/v1")
  assert KEY not in str(caught.value)


def test_addresses_that_are_none(monkeypatch):
  for base in ("models", "ftp://x/", "http://[", "http://a:b@x/", "https://"):
    with pytest.raises(UserError, match="is no address of a server"):
      llm("openai_http", base)
  monkeypatch.delenv("OPENAI_API_KEY")
  llm("openai_http", "http://models.example/v1")


@of_both
def test_a_server_that_knows_less(protocol):
  """What is optional is left out, and asked for in words anyway."""
  with serving(fails(400), says(GOOD)) as (base, stub):
    found = providers.structured(llm(protocol, base), ASKED, Answer)
  assert found["share"] == 0.5
  first, second = (json.dumps(content) for _, _, content in stub.asked)
  assert "temperature" in first
  assert "temperature" not in second
  assert "JSON of this schema" in second


@of_both
@pytest.mark.parametrize(
  "wrong",
  [
    "Red, I think.",
    '{"colour": "green", "share": 0.5}',
    '{"colour": "red"',
    '{"colour": "red"}',
  ],
)
def test_a_wrong_answer_is_repaired_once(protocol, wrong):
  usage = Usage()
  with serving(says(wrong, f"```json\n{GOOD}\n```")) as (base, stub):
    found = providers.structured(
      llm(protocol, base), ASKED, Answer, usage=usage
    )
  assert found == {"colour": "red", "share": 0.5}
  assert usage.repairs == 1
  *_, answer, told = _texts(stub.asked[1][2])
  assert answer == wrong
  assert told.startswith("Your answer ")
  with (
    serving(says(wrong)) as (base, stub),
    pytest.raises(UserError, match="was asked twice, and its answer"),
  ):
    providers.structured(llm(protocol, base), ASKED, Answer)
  assert len(stub.asked) == 2


def _texts(content):
  """Of the messages of a request."""
  if "contents" in content:
    return [c["parts"][0]["text"] for c in content["contents"]]
  return [m["content"] for m in content["messages"]]


@of_both
def test_words_between_tags(protocol):
  text = "Let me see. <question>Which\ncolour?</question> Good."
  with serving(says("Which colour?", text)) as (base, _):
    found = providers.tagged(llm(protocol, base), ASKED, "question")
  assert found == "Which colour?"


def test_schemas_and_readers_agree():
  """By an independent judge, for all that is asked for."""
  for kind in (prompting.Entities, prompting.Merged, prompting.Relations):
    form = providers.schema(kind)
    jsonschema.Draft202012Validator.check_schema(form)
  judge = jsonschema.Draft202012Validator(providers.schema(Answer))
  assert judge.is_valid(json.loads(GOOD))
  for wrong in ({"colour": "red"}, {"colour": "green", "share": 1}, []):
    assert not judge.is_valid(wrong)


@pytest.mark.parametrize(
  ("protocol", "model"),
  [("openai_http", "x"), ("gemini", "imagen-3"), ("gemini", "flash-image")],
)
def test_pictures(protocol, model):
  with serving(draws) as (base, stub):
    made = MODULES[protocol].Images(remote(protocol, base), model)
    found = made.generate(Graph(prompt="a cat"), 2, seed=3, size=16)
  assert found.shape == (2, 16, 16, 3)
  assert (found[0] == 10).all()
  # The prompt as it is, and nothing that is not wanted.
  assert '"a cat"' in json.dumps(stub.asked[0][2])
  assert "negative" not in json.dumps(stub.asked).casefold()
  assert made.remote.usage.pictures == 2
  bad = json.dumps({"data": [{"b64_json": "aGk="}] * 2}).encode()
  if protocol == "openai_http":
    for body, message in (
      (bad, "what is no picture"),
      (bad.replace(b"aGk=", b"?"), "not base64"),
      (b'{"data": [{"url": "http://x"}]}', "no key 'b64_json'"),
      (b'{"data": []}', "sent 0 pictures, and 2"),
    ):
      with (
        serving(fails(200, body)) as (base, _),
        pytest.raises(UserError, match=message),
      ):
        openai_http.Images(remote(protocol, base), "x").generate("a", 2, 0, 8)


@of_both
def test_yes_and_no(protocol):
  """By what is likely, or by the word where nothing is told of that."""
  images = np.zeros((2, 4, 4, 3), np.uint8)
  likely = {" Yes": np.log(0.6), "no": np.log(0.2), "Maybe": np.log(0.1)}

  def answer(path, content):
    told = likely if "a cat" in json.dumps(content) else None
    return 200, {}, json.dumps(spoken(path, "No.", told)).encode()

  with serving(answer) as (base, _):
    judge = MODULES[protocol].VQA(remote(protocol, base), "model-1")
    found = judge.p_yes(images, ["a cat", "a dog"])
  np.testing.assert_allclose(found, [0.75, 0])
  with (
    serving(says("Perhaps")) as (base, _),
    pytest.raises(UserError, match="neither yes nor no"),
  ):
    MODULES[protocol].VQA(remote(protocol, base), "m").p_yes(images[:1], ["x"])


@of_both
def test_vectors_of_texts(protocol):
  def answer(path, content):
    sent = [[3.0, 4.0], [0.0, 2.0]]
    if "batchEmbed" in path:
      found = {"embeddings": [{"values": v} for v in sent]}
    else:
      found = {"data": [{"embedding": v} for v in sent]}
    return 200, {}, json.dumps(found).encode()

  with serving(answer) as (base, _):
    made = MODULES[protocol].Embed(remote(protocol, base), "model-1")
    np.testing.assert_allclose(made.text(["a", "b"]), [[0.6, 0.8], [0, 1]])
    with pytest.raises(UserError, match=r"2 vectors .* for 1 texts"):
      made.text(["a"])


def test_what_was_answered_is_remembered_and_replayed(tmp_path):
  file = tmp_path / "answers.jsonl"
  with serving(says("red", "blue")) as (base, stub):
    inner = llm("openai_http", base)
    first = recorded.LLM(recorded.Recording(file), inner.name, inner)
    assert first.generate(ASKED) == ["red"]
    assert first.generate(ASKED) == ["red"]
    assert first.generate(ASKED, seed=1) == ["blue"]
  assert len(stub.asked) == 2
  recording = recorded.Recording(file)
  assert recording.name("text") == "openai_http model-1"
  assert recording.name("yes") == ""
  again = recorded.LLM(recording, inner.name)
  assert again.generate(ASKED, seed=1) == ["blue"]
  assert recording.usage.remembered == 1
  with pytest.raises(UserError, match="has no answer of openai_http model-1"):
    again.generate(ASKED, seed=2)
  # A process was killed while it wrote; another line is broken.
  file.write_text(file.read_text()[:-9])
  assert recorded.LLM(recorded.Recording(file), inner.name).generate(ASKED)
  first = file.read_bytes().split(b"\n")[0]
  replies.append(file, {"a": "é"})
  assert file.read_bytes() == first + b'\n{"a": "\\u00e9"}\n'
  file.write_bytes(b"x" * 200_000)
  replies.append(file, {})
  assert file.read_bytes() == b"{}\n"
  file.write_text("{}\n")
  with pytest.raises(UserError, match=r"line 1 has no key .*no recording"):
    recorded.Recording(file)


def test_pictures_and_judgements_are_replayed_bit_for_bit(tmp_path):
  file = tmp_path / "answers.jsonl"
  made = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)

  class Inner:
    name = "it"

    def generate(self, prompt, n, seed, size):
      return made

    def p_yes(self, images, texts):
      return np.array([0.25, 1 / 3])

  recording = recorded.Recording(file)
  recorded.Images(recording, "it", Inner()).generate("a cat", 2, 0, 8)
  recorded.VQA(recording, "it", Inner()).p_yes(made, ["a", "b"])
  again = recorded.Recording(file)
  found = recorded.Images(again, "it").generate("a cat", 2, 0, 8)
  np.testing.assert_array_equal(found, made)
  found = recorded.VQA(again, "it").p_yes(made, ["a", "b"])
  np.testing.assert_array_equal(found, [0.25, 1 / 3])


def test_a_person_answers():
  lines, shown = iter(["red", None]), []
  found = human.LLM(shown.append, lambda: next(lines))
  assert found.generate(ASKED) == ["red"]
  assert shown == ["be brief", "which colour?"]
  with pytest.raises(UserError, match="the input has ended"):
    found.generate(ASKED)


def test_several_at_a_time():
  assert providers.together(lambda x: 2 * x, list(range(9)), 4) == [
    2 * x for x in range(9)
  ]
  assert providers.together(lambda x: x, [], 4) == []

  def odd(x):
    if x % 2:
      raise UserError(str(x))

  with pytest.raises(UserError, match="1"):
    providers.together(odd, list(range(4)), 1)
