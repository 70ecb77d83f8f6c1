"""CIFAR-10 from wherever it can be had."""
