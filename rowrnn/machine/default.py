"""The backend of a computation for which none is named."""

import jax

default_backend = jax.make_user_context("auto")
"""Context manager that sets the backend of the scans inside it: `with default_backend("plain"): ...`.

Convolutions run compiled code of `rowrnn/machine/kernels/` under "auto" and "native" only."""
