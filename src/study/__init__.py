"""A study while it runs: which trials may start, who trains them, what the terminal says."""
