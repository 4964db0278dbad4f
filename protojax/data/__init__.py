"""What a batch is: the images of a data set, its splits and streams of batches.

`datasets` opens a source. `stream.shuffled` and `stream.ordered` make batches of
it, which are read by step. `transforms.augment` varies their images on the
device.
"""
