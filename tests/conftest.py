"""Strictness for all tests: no implicit dtype or rank promotion, two CPU devices, warnings are errors."""

import os

# Programs of tests, and of the processes that they start, compile for a second and run for microseconds: LLVM's
# optimizations and XLA's fusion emitters only cost time here. `problem.full_jit` has them.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}"

import jax  # noqa: E402

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
