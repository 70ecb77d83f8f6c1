"""Strict by default: shapes are checked, ranks are never promoted silently, warnings are errors."""

import os

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

import jax
from jaxtyping import install_import_hook

install_import_hook("src", "beartype.beartype")
jax.config.update("jax_numpy_rank_promotion", "raise")
