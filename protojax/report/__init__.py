"""Evidence -> pages, tables, sentences and pictures.

A method names a module of this package, such as `report = "class_report"`, or
any other module by its dotted name; its class `Report` writes the explanations
of the method.
"""

import importlib
from typing import TYPE_CHECKING

from protojax import finding

if TYPE_CHECKING:
  from protojax.report.report_folder import ReportFolder

_SETTING = "the method's report"


def load(name: str) -> type["ReportFolder"]:
  """The class `Report` of a module.

  Args:
    name: of a module here, such as "class_report", or dotted.

  Raises:
    UserError: there is no such module.
  """
  if finding.is_own(name):
    return finding.own(name, ("Report",), _SETTING).Report
  known = finding.names(__name__, "Report")
  if name not in known:
    raise finding.unknown(_SETTING, name, known)
  return importlib.import_module(f"{__name__}.{name}").Report
