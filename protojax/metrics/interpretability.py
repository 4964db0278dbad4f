"""All metrics of explanations, by their inputs.

  maps, masks     `localisation`: content (CH), outside_inside (OIRR), overlap
                  (IoU), and the pointing game: energy, relevance, hits
  maps, images    `deletion`: deletion and insertion (areas under their
                  curves), relative_drop of images that are `blended`; `road`
  a function that explains
                  `sensitivity`: max_sensitivity; `randomisation`: mprt,
                  spearman
  places, parts   `parts`: consistency, stability, purity; same_cells
  scores, weights `sizes`: sparsity, global_size, local_size,
                  prediction_size, prediction_sparsity, uniqueness
  probabilities   `calibration`: calibration_error (ECE), outlier_auroc,
                  abstention

All take plain arrays and are vectorised over images and prototypes. A case
without a value (no part is seen, an empty mask) is nan; `mean` leaves it out
and counts it.
"""

from protojax.metrics.calibration import (
  abstention,
  calibration_error,
  outlier_auroc,
)
from protojax.metrics.deletion import (
  area,
  blended,
  deletion,
  insertion,
  relative_drop,
)
from protojax.metrics.localisation import (
  content,
  coverage,
  energy,
  hits,
  outside_inside,
  overlap,
  relevance,
)
from protojax.metrics.means import Mean, mean
from protojax.metrics.parts import (
  consistency,
  contained,
  purity,
  same_cells,
  stability,
)
from protojax.metrics.randomisation import mprt, spearman
from protojax.metrics.road import road
from protojax.metrics.sensitivity import max_sensitivity
from protojax.metrics.sizes import (
  global_size,
  local_size,
  prediction_size,
  prediction_sparsity,
  sparsity,
  uniqueness,
)

__all__ = (
  "Mean",
  "abstention",
  "area",
  "blended",
  "calibration_error",
  "consistency",
  "contained",
  "content",
  "coverage",
  "deletion",
  "energy",
  "global_size",
  "hits",
  "insertion",
  "local_size",
  "max_sensitivity",
  "mean",
  "mprt",
  "outlier_auroc",
  "outside_inside",
  "overlap",
  "prediction_size",
  "prediction_sparsity",
  "purity",
  "relative_drop",
  "relevance",
  "road",
  "same_cells",
  "sparsity",
  "spearman",
  "stability",
  "uniqueness",
)
