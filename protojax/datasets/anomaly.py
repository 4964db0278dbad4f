"""Prepares normal and defective images, in any of the layouts of `layouts`."""

from protojax.datasets import anomaly_records

# What is declared of a data set; see `protojax.datasets`.
PREPARES = "normal and defective images, with masks of the defects"
WRITES = anomaly_records.NAME
TRAINS = "inp_former_folder --config.data.name=prepared"

prepare = anomaly_records.write
