"""The error that is a mistake of the user.

It has a module of its own that imports nothing, so that the command line can
name it without the second that JAX takes.
"""


class UserError(Exception):
  """A mistake of the user: shown as one line, exit code 2."""
