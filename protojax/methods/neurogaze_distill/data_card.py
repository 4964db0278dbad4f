"""The data card: what the model is not for; printed and reported."""

TEXT = (
  "Data card. For research on robust image classification only. Not for"
  " identification or surveillance of persons. Not for clinical use: D-Geo is a"
  " prior on the shape of features that was named after findings on depression;"
  " it diagnoses nothing. Valence and arousal are what people said of"
  " themselves, which is subjective. Labels of facial expressions are votes of"
  " a crowd on pictures, not what a person felt."
)
# Of measurements that nobody has taken.
SYNTHETIC = (
  "The measurements behind the bank are made up or a stand-in ({title}):"
  " nothing here was learned from a brain."
)
