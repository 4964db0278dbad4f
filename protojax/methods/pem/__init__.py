"""PEM: masks and their classes from queries that pick one token each."""
