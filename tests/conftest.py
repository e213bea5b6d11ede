"""Strictness for all tests: no implicit dtype or rank promotion, two CPU devices, warnings are errors."""

import jax

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
