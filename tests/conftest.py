"""Strict settings for every test: two CPU devices, no silent broadcasting."""

import jax

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
