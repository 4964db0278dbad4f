"""What axe finds wrong with a page that a browser shows."""

from importlib import resources

import pytest

# Opens everything that is folded, since axe looks at what is shown.
_OPEN = """
for (const one of document.querySelectorAll("details")) {
  one.removeAttribute("name");
  one.open = true;
}
"""
_RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then(
  (found) => done(found.violations), (error) => done([{id: String(error)}]));
"""


def serious(browser):
  """Serious and critical findings, light and dark, as "rule: where"."""
  pytest.importorskip("axe_core_python", reason="checks pages with axe")
  script = resources.files("axe_core_python") / "axe.min.js"
  browser.execute_script(_OPEN)
  browser.execute_script(script.read_text("utf-8"))
  browser.set_script_timeout(300)
  found = []
  for scheme in ("light", "dark"):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd(
      "Emulation.setEmulatedMedia", {"features": [feature]}
    )
    for rule in browser.execute_async_script(_RUN):
      if rule.get("impact") in ("moderate", "minor"):
        continue
      places = [str(n["target"]) for n in rule.get("nodes", [])]
      found.append(f"{scheme}, {rule['id']}: {', '.join(places[:5])}")
  browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
  return found
