"""Equations that may stand between the networks."""
