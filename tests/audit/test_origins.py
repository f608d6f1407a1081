"""The trace of fakes survives what loops do to batches."""

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gan_gradflow.audit.origins import NOT_FAKE, Origins

OLD, NEW = 0, 4


class Following(TorchFunctionMode):
    def __init__(self, origins):
        super().__init__()
        self.origins = origins

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        self.origins.follow(func, args, kwargs or {}, output)
        return output


def written(reals: Tensor, fakes: Tensor) -> Tensor:
    both = torch.empty(5, 3)
    both[:2], both[2:] = reals, fakes
    return both


N = NOT_FAKE
CASES = {
    "detached": (lambda r, f: f.detach(), [NEW] * 3),
    "data": (lambda r, f: f.data, [NEW] * 3),
    "concatenated": (lambda r, f: torch.cat([r, f]), [N, N, NEW, NEW, NEW]),
    "along_channels": (
        lambda r, f: torch.cat([f, r.new_zeros(3, 1)], dim=1),
        [NEW] * 3,
    ),
    "written": (written, [N, N, NEW, NEW, NEW]),
    "sliced": (lambda r, f: torch.cat([r, f])[1:4], [N, NEW, NEW]),
    "picked": (lambda r, f: torch.cat([r, f])[torch.tensor([4, 0])], [NEW, N]),
    "selected": (
        lambda r, f: torch.cat([r, f]).index_select(0, torch.tensor([0, 3])),
        [N, NEW],
    ),
    "split": (lambda r, f: torch.cat([r, f]).split([2, 3])[1], [NEW] * 3),
    "noised": (lambda r, f: f + torch.randn(3, 3), [NEW] * 3),
    "reals": (lambda r, f: r + 1, None),
    "statistics": (lambda r, f: r + f.mean(), None),
    "noise_of_the_same_shape": (lambda r, f: torch.randn_like(f), None),
    "constants_of_the_same_shape": (lambda r, f: f.new_ones(3, 3), None),
    "scaled_by_a_number": (lambda r, f: torch.tensor(2.0) * f, [NEW] * 3),
    "masked": (lambda r, f: torch.where(f > 0, f, 0.0), [NEW] * 3),
    "repeated": (lambda r, f: f[None].expand(2, 3, 3), None),
}


@pytest.mark.parametrize("case", CASES)
def test_births_follow_the_rows(case):
    make, expected = CASES[case]
    origins, reals, fakes = Origins(), torch.randn(2, 3), torch.randn(3, 3)
    origins.mark(fakes, NEW)
    with Following(origins):
        result = make(reals, fakes)
    births = origins.births(result)
    assert (births if births is None else births.tolist()) == expected


def test_a_mixture_is_as_young_as_its_youngest_part():
    origins, old, new = Origins(), torch.randn(3, 3), torch.randn(3, 3)
    origins.mark(old, OLD)
    origins.mark(new, NEW)
    with Following(origins):
        mixed = old + new
    assert origins.births(mixed).tolist() == [NEW] * 3


def test_draws_from_statistics_are_derived_and_noise_is_not():
    origins, fakes = Origins(), torch.randn(3, 3)
    origins.mark(fakes, NEW)
    with Following(origins):
        drawn = fakes.mean(0) + torch.randn(5, 3)
        noise = torch.randn_like(fakes)
    assert origins.derived(drawn)
    assert not origins.derived(noise)
