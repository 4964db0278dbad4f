"""A server is asked so many things at a time, and no more."""

import json
import threading
import time

from protojax.agents import openai_http, providers
from tests.agents.provider_stub import serving, spoken


def test_requests_at_a_time(monkeypatch):
  monkeypatch.delenv(openai_http.KEY_VARIABLE, raising=False)
  lock, now, most = threading.Lock(), 0, 0

  def answer(path, content):
    nonlocal now, most
    with lock:
      now += 1
      most = max(most, now)
    time.sleep(0.05)
    with lock:
      now -= 1
    return 200, {}, json.dumps(spoken(path, "red")).encode()

  with serving(answer) as (base, stub):
    llm = openai_http.LLM(openai_http.remote(base, at_once=2), "m")
    ask = [{"role": "user", "content": "which colour?"}]
    made = providers.together(lambda _: llm.generate(ask), range(6), 6)
  assert made == [["red"]] * 6
  assert len(stub.asked) == 6
  assert most == 2
