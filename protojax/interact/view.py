"""The HTML page of an intervention, in the frame and colours of the reports.

`server` sends it once; its scripts then ask the server for all data.
"""

from collections.abc import Mapping
from typing import Any

from protojax.report import page as report_page


def page(title: str, facts: Mapping[str, Any], nonce: str) -> str:
  """The page as HTML.

  Args:
    title: of the run.
    facts: see `Session.facts`.
    nonce: random text that allows the page's own script, and no other, to run.
  """
  environment = report_page.environment("protojax.interact")
  template = environment.get_template("interact.html.jinja")
  run = report_page.Run(title)
  return template.render(run=run, facts=facts, nonce=nonce)
