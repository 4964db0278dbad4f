"""From files to batches: sources, the stream that reads them, transforms.

`sources.load` opens a data set, `pipeline.training` and `pipeline.ordered` turn
it into batches that are addressed by step, `transforms.augment` varies them on
the device.
"""
