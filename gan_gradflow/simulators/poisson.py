"""Counts of rare events: x ~ Poisson(exp(theta)), theta the logarithm of the rate."""

import numpy as np


class PoissonSimulator:
    """One count for each theta."""

    def __call__(self, parameters: np.ndarray, seed: int) -> np.ndarray:
        """Counts `[n, 1]` for log-rates `[n, 1]`; a rate above 1e6 counts as 1e6."""
        rates = np.exp(np.minimum(parameters, np.log(1e6)).astype(np.float64))
        return np.random.default_rng(seed).poisson(rates).astype(np.float64)
