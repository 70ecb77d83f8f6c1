"""Unsupervised pre-training, layer by layer: what a network can learn without labels."""
