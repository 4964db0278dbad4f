"""How good a method is, measured on data whose truth is known.

`ranking` compares scores with labels, `anomaly` judges anomaly maps by the
defects of the truth and chooses the threshold of an inspection.
`interpretability` names all that judge explanations.
"""
