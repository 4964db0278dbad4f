"""Reads pages as a browser does, and checks what all reports must keep to."""

from html.parser import HTMLParser
from importlib import resources
import re

HOSTILE = "<script>alert('x')</script>\"'&{{ 7 * 7 }} onerror=a"


class Page(HTMLParser):
  """Collects tags, their attributes and the text; checks the nesting."""

  VOID = ("meta", "link", "img", "br", "input")

  def __init__(self, page):
    super().__init__()
    self.tags, self.words, self.scripts, self._open = [], [], [], []
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
    within = self._open[-1] if self._open else ""
    {"script": self.scripts, "style": []}.get(within, self.words).append(data)

  def attributes(self, name):
    return [a[name] for _, a in self.tags if name in a]

  @property
  def text(self):
    return " ".join(" ".join(self.words).split())


def assert_safe_and_whole(page):
  """Names are escaped, nothing is loaded, and every link leads somewhere."""
  parsed = Page(page)
  assert_safe(page, parsed)
  for address in parsed.attributes("src"):
    assert address.startswith("data:image/jpeg;base64,")
  places = set(parsed.attributes("id"))
  for address in parsed.attributes("href"):
    assert address == "data:," or (address[0] == "#" and address[1:] in places)


def assert_safe(page, parsed):
  """No foreign script, no id twice, and a text for every picture."""
  folder = resources.files("protojax.report.templates")
  ours = [
    (folder / name).read_text("utf-8").strip()
    for name in ("pictures.js.jinja", "report.js.jinja")
  ]
  assert all(script.strip() in ours for script in parsed.scripts)
  assert not any(name.startswith("on") for _, a in parsed.tags for name in a)
  assert not re.search(r"https?:|url\(|@import|srcset", page)
  assert len(set(parsed.attributes("id"))) == len(parsed.attributes("id"))
  pictures = [a for tag, a in parsed.tags if tag == "img"]
  assert all("alt" in a and a["loading"] == "lazy" for a in pictures)


def assert_folder_is_whole(folder):
  """All pages of a folder are safe; links and pictures stay inside it."""
  pages = {p.name: p.read_text("utf-8") for p in folder.glob("*.html")}
  parsed = {name: Page(page) for name, page in pages.items()}
  places = {
    f"{name}#{place}"
    for name in pages
    for place in parsed[name].attributes("id")
  }
  for name, page in pages.items():
    assert_safe(page, parsed[name])
    for address in parsed[name].attributes("src"):
      assert (folder / address).is_file()
    for address in parsed[name].attributes("href"):
      full = name + address if address[0] == "#" else address
      assert full == "data:," or full in places or full in pages
  return parsed
