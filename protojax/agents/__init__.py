"""An agent that asks before it paints: what it believes, and what it asks.

graph.py       the belief graph: entities, attributes, relations; its JSON
facts.py       places in a graph; what a user has said is pinned
editing.py     what a user changes by hand, and takes back
beliefs.py     graphs as arrays, many at once
policies.py    which question is worth most, and when to stop
likelihood.py  how probable a belief holds the picture that a user wants
"""
