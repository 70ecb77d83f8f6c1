"""CIFAR-10 from its archives, a prepared folder or the network."""
