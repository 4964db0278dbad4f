"""Where examples come from: a module a data set or folder layout."""
