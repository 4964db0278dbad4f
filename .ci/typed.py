"""What a user writes, for a type checker and to be run; see `.ci/run`."""

from pathlib import Path

import numpy as np

import protojax as pj

model: pj.Model = pj.load(Path("runs/protopnet_photos-debug"))
pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
found = model.predict(pixels)
print(found, model.class_names[0], len(model.prototypes))
picture = model.prototypes[0].picture
assert picture is None or picture.size == (104, 104)
page: Path = model.explain(pixels).to_html("why.html")
lost = pj.importance(lambda x: x.mean((1, 2, 3)), pixels)
print(page, lost.because["contrast"])
