"""Simulators to learn the parameters of, in NumPy: a batch and a seed in, a batch out."""
