"""A data set small enough to be read by eye: sample i is the vector (i, i)."""

import pytest
import torch

from gan_gradflow.datamodules.base import DataSet, TensorDataModule


class CountingDataModule(TensorDataModule):
    num_train = 10

    def load(self):
        train, held_out = torch.arange(self.num_train), torch.arange(100, 103)
        return DataSet(pairs(train), train, pairs(held_out), held_out)


def pairs(values):
    return values.float()[:, None].expand(-1, 2).clone()


@pytest.fixture
def counting():
    def build(**changes):
        arguments = {
            "event_shape": (2,),
            "batch_size": 4,
            "seed": 0,
            "num_iterations": 6,
            "batches_per_iteration": 1,
        }
        return CountingDataModule(**(arguments | changes))

    return build
