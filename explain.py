"""Explains a trained run: checkpoint -> explanations -> report.

python explain.py
python explain.py --workdir=DIR --scope=global --split=train
python explain.py --images='holiday/*.jpg'
python explain.py --preset=reference --format=html,csv,json

Says which of hue, shape, texture, contrast and saturation makes images look
like the prototypes, or anomalous, and writes WORKDIR/explanations/report.html
and tables. The command itself is `protojax/commands/explain.py`.
"""

import sys

from protojax import signals

if __name__ == "__main__":
  # A signal that comes during imports ends them in one line.
  with signals.handled(signals.leave):
    from protojax import cli
  signals.finish(cli.run("explain", sys.argv[1:], "python explain.py"))
