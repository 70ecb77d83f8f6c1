"""One file per study: values and a sweep, no logic."""
