"""What a batch is: the images of a source, and streams of batches.

`datasets` opens a source. `stream.shuffled` and `stream.ordered` make batches
of it, which are read by step. `Stream.varied` varies a batch on the device, by
what `transforms.draw` draws.
"""
