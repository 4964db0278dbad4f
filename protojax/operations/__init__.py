"""What the commands do: a module for each, imported when it is called.

A module of `protojax.commands` declares the arguments, and must be imported in
an instant, for `--help`. What it runs lies here, and may import anything.
"""
