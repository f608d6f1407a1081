"""Simulators that do what simulators do."""

import os
import signal
import time

import numpy as np


def double(samples):
    print("what a simulator prints")
    return 2 * samples


def noisy(samples, seed):
    return samples + np.random.default_rng(seed).normal(size=samples.shape)


class Power:
    def __init__(self, exponent):
        self.exponent = exponent

    def __call__(self, samples):
        return samples**self.exponent


class Wrong:
    """Goes wrong in one way where a sample is negative: for good, or the first time."""

    def __init__(self, way, once):
        self.way, self.once = way, once

    def __call__(self, samples):
        if (samples >= 0).all() or self._been_here():
            return samples
        return getattr(self, self.way)(samples)

    def _been_here(self):
        if self.once is None:
            return False
        try:
            os.close(os.open(self.once, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return True
        return False

    def raises(self, samples):
        raise ArithmeticError("negative energy")

    def hangs(self, samples):
        time.sleep(1000)

    def nan(self, samples):
        return samples * np.nan

    def count(self, samples):
        return samples[1:]

    def dies(self, samples):
        os.kill(os.getpid(), signal.SIGKILL)


def total(samples):
    return samples.sum(1)


def identity(samples):
    """The number of this process, for each sample."""
    return np.full(samples.shape, float(os.getpid()))
