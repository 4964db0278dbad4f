"""Metrics of methods, on data whose truth is known.

`ranking` compares scores with labels. `anomaly` compares anomaly maps with the
true defects, and chooses the threshold of an inspection. `interpretability`
names all metrics of explanations.
"""
