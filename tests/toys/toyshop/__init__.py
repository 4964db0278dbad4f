"""Methods and data sets of someone else, which the tests copy away.

Not one of them needs a change of protojax.
"""
