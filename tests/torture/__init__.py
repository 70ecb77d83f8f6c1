"""Faults for real: kills, flipped bytes, a full disk, configs without sense. `make torture`."""
