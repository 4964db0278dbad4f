"""Reads a page as a browser would, for what must be true of every report."""

from html.parser import HTMLParser
import re

HOSTILE = "<script>alert('x')</script>\"'&{{ 7 * 7 }} onerror=a"


class Page(HTMLParser):
  """Collects tags, their attributes and the text; checks the nesting."""

  VOID = ("meta", "link", "img", "br")

  def __init__(self, page):
    super().__init__()
    self.tags, self.words, self._open = [], [], []
    self.feed(page)
    self.close()
    assert not self._open

  def handle_starttag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))
    if tag not in self.VOID:
      self._open.append(tag)

  def handle_endtag(self, tag):
    assert self._open.pop() == tag

  def handle_data(self, data):
    self.words.append(data)

  def attributes(self, name):
    return [a[name] for _, a in self.tags if name in a]

  @property
  def text(self):
    return " ".join(" ".join(self.words).split())


def assert_safe_and_whole(page):
  """Names are escaped, nothing is loaded, and every link leads somewhere."""
  parsed = Page(page)
  assert "script" not in {tag for tag, _ in parsed.tags}
  assert not any(name.startswith("on") for _, a in parsed.tags for name in a)
  for address in parsed.attributes("src"):
    assert address.startswith("data:image/jpeg;base64,")
  for address in parsed.attributes("href"):
    assert address.startswith(("#", "data:,"))
  assert not re.search(r"https?:|url\(|@import|srcset", page)
  places = set(parsed.attributes("id"))
  assert len(places) == len(parsed.attributes("id"))
  for address in parsed.attributes("href"):
    assert address == "data:," or address[1:] in places
  pictures = [a for tag, a in parsed.tags if tag == "img"]
  assert all(a["alt"] and a["loading"] == "lazy" for a in pictures)
