"""What a batch is: fields of the examples of a source, in streams by step.

`datasets` opens a source, whose `fields` say what its examples hold.
`stream.shuffled` and `stream.ordered` make batches of it. `Stream.varied`
varies a batch on the device, by what `transforms.draw` draws, in one view or
several.
"""
