"""What a batch is: the images of a source, and streams of batches.

`datasets` opens a source. `stream.shuffled` and `stream.ordered` make batches
of it, which are read by step. `transforms.augment` varies the images of a batch
on the device.
"""
