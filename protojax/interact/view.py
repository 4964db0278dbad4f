"""The HTML pages of this package, in the frame and colours of the reports.

`server` sends it once; its scripts then ask the server for all data.
"""

from collections.abc import Mapping
from typing import Any

from protojax.report import page as report_page


def page(
  template: str, title: str, facts: Mapping[str, Any], nonce: str
) -> str:
  """A page as HTML.

  Args:
    template: its file here.
    title: of the run.
    facts: see `facts` of the session that it is for.
    nonce: random text that allows the page's own script, and no other, to run.
  """
  environment = report_page.environment("protojax.interact")
  run = report_page.Run(title)
  return environment.get_template(template).render(
    run=run, facts=facts, nonce=nonce
  )
