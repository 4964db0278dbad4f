"""Evidence -> pages, tables, sentences and pictures.

A module here with a class `Report` writes the explanations of every method that
names it, `report = "class_report"`.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from protojax.report.report_folder import ReportFolder


def load(name: str) -> type["ReportFolder"]:
  """The class `Report` of a module here.

  Args:
    name: of the module, such as "class_report".
  """
  return importlib.import_module(f"{__name__}.{name}").Report
