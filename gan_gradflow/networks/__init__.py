"""Generators `[n, latent_dim] -> [n, *event]`, discriminators `[n, *event] -> [n]`."""
