"""An agent that asks before it paints: what it believes, and what it asks.

graph.py       the belief graph: entities, attributes, relations; its JSON
facts.py       places in a graph; what a user has said is pinned
editing.py     what a user changes by hand, and takes back
beliefs.py     graphs as arrays, many at once
policies.py    which question is worth most, and when to stop
likelihood.py  how probable a belief holds the picture that a user wants
words.py       words that mean the same
dialogue.py    of the embedded world, offline; trace.py: its steps, to replay
providers.py   models that answer for others; prompted.py: a dialogue by them
captions.py    self-play by models, about captions of files (goals.py)
"""
