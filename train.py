"""Trains a method: config -> method -> stages -> checkpoint.

python train.py
python train.py --config=configs/protopnet_folder.py --config.data.root=DIR
python train.py --config=configs/protopnet_photos.py:debug --workdir=DIR
python train.py --config.seeds=5

If a run was interrupted, the same command continues it. The command itself is
`protojax/commands/train.py`.
"""

import sys

from protojax import signals

if __name__ == "__main__":
  # A signal that comes during imports ends them in one line.
  with signals.handled(signals.leave):
    from protojax import cli
  signals.finish(cli.run("train", sys.argv[1:], "python train.py"))
