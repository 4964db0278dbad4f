"""Settings that runs before them were written without."""

LATER = {
  "network.refine": 0,
  "network.variance": 0.0,
  "optimizer.cosine": False,
  "optimizer.warmup": 0,
}
