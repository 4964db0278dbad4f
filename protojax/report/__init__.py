"""Evidence -> pages, tables, sentences and pictures.

A method names a module of this package, such as `report = "class_report"`; its
class `Report` writes the explanations of the method.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from protojax.report.report_folder import ReportFolder


def load(name: str) -> type["ReportFolder"]:
  """The class `Report` of a module of this package.

  Args:
    name: of the module, such as "class_report".
  """
  return importlib.import_module(f"{__name__}.{name}").Report
