"""Agents that ask in the embedded world, and their judge; its claims.

Of each policy 200 held-out goals with each seed; figures are after five
questions. docs/proactive_agents.md says which claims hold.
"""

from benchmarks import agents, experiment

QUESTION = (
  "Do pictures come nearer to the goal if an agent asks first, and how?"
)

ARMS = {"scenes": ("configs/proactive_agents_scenes.py", {})}

FIGURES = agents.FIGURES

SEEDS = (0, 1, 2)

SETTINGS = {"goals": 200}

MEASURE = agents.measured

TABLE = experiment.by_seed
