"""From files to batches: sources, the stream that reads them, transforms.

`prepare.write` and `labelled.write` make TFDS data sets of folders and
archives. `sources.load` opens a data set, `pipeline.training` and
`pipeline.ordered` turn it into batches that are addressed by step,
`transforms.augment` varies them on the device.
"""
