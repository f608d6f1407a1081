"""Tiny critics whose gradients are known on paper, and directions without chance."""

from itertools import product

import torch

from gan_gradflow.bridges.directions import Directions

FLOAT = torch.float64

# d/dmu E f(x) for x ~ N(mu, s^2) at mu = 1, s = 1.5: variance of one draw's estimate by
# the score function, with the mean, with the optimal baseline, and along the path.
VARIANCES = {
    "(x+3)^2": (lambda x: (x + 3) ** 2, 371.5, 150.5, 141.5, 9.0),
    "x^2": (lambda x: x**2, 48.19, 30.5, 21.5, 9.0),
    "(x-3)^2": (lambda x: (x - 3) ** 2, 96.86, 54.5, 45.5, 9.0),
    "cos .1x": (lambda x: (0.1 * x).cos(), 0.4116, 7.30e-4, 5.12e-4, 2.18e-4),
    "cos 10x": (lambda x: (10 * x).cos(), 0.2222, 0.2222, 0.2222, 50.0),
    "exp(-x^2)": (lambda x: (-(x**2)).exp(), 0.0362, 0.0385, 0.0233, 0.2267),
}


class Linear:
    """f(x) = <w, x>, with gradient w everywhere; w counts up from 1 in any shape."""

    def __call__(self, x):
        return (x.flatten(1) * self.weight(x)).sum(1)

    def weight(self, x):
        return torch.arange(1, x[0].numel() + 1).to(x)

    def gradient(self, x):
        return self.weight(x).expand(len(x), -1).reshape(x.shape)


class Separable:
    """f(x) = sum_i a_i x_i^2 / 2 + x_i with a_i = 1, -2, 3, ...: gradient a_i x_i + 1."""

    def __call__(self, x):
        flat = x.flatten(1)
        return (self.curvature(x) * flat**2 / 2 + flat).sum(1)

    def curvature(self, x):
        counts = torch.arange(1, x[0].numel() + 1)
        return (counts * (-1) ** (counts + 1)).to(x)

    def gradient(self, x):
        return (self.curvature(x) * x.flatten(1) + 1).view_as(x)


class Coupled:
    """f(x) = x' A x / 2 + b' x with a full symmetric A: gradient A x + b."""

    def __init__(self, dim):
        square = torch.arange(dim * dim, dtype=FLOAT).view(dim, dim) / dim
        self.a, self.b = square + square.T, torch.arange(dim, dtype=FLOAT)

    def __call__(self, x):
        return (x @ self.a * x).sum(1) / 2 + x @ self.b

    def gradient(self, x):
        return x @ self.a + self.b


class Cubic:
    """f(x, y, z) = x^3 + 2 x y^2 - 3 y z^2 + x y z."""

    def __call__(self, p):
        x, y, z = p.unbind(1)
        return x**3 + 2 * x * y**2 - 3 * y * z**2 + x * y * z

    def gradient(self, p):
        x, y, z = p.unbind(1)
        partials = [
            3 * x**2 + 2 * y**2 + y * z,
            4 * x * y - 3 * z**2 + x * z,
            -6 * y * z + x * y,
        ]
        return torch.stack(partials, 1)

    # f_iii + 3 sum_{j != i} f_ijj, where f_xxx = 6, f_xyy = 4, f_yzz = -6, others 0.
    spsa = torch.tensor([6 + 3 * 4, 3 * -6, 0], dtype=FLOAT)
    # The gradient of the Laplacian, f_iii + sum_{j != i} f_ijj.
    laplacian = torch.tensor([6 + 4, -6, 0], dtype=FLOAT)


class Given(Directions):
    """Directions `[directions, dim]` that are given instead of drawn."""

    def __init__(self, directions):
        self.directions = directions

    def count(self, dim):
        return len(self.directions)

    def weight(self, dim):
        return 1 / len(self.directions)

    def draw(self, start, stop, like):
        drawn = self.directions[start:stop].to(like)
        return drawn.unsqueeze(1).expand(-1, *like.shape)


def every_sign(dim):
    """All 2^dim Rademacher directions: their mean is the exact expectation."""
    return Given(torch.tensor(list(product((-1.0, 1.0), repeat=dim)), dtype=FLOAT))


def every_gaussian(dim):
    """6^dim directions with the moments of N(0, I) up to the fifth order."""
    nodes = (-(3**0.5), 0.0, 0.0, 0.0, 0.0, 3**0.5)
    return Given(torch.tensor(list(product(nodes, repeat=dim)), dtype=FLOAT))


def pull(bridge, critic, emission, seed=0):
    """The losses, and the gradient of their sum on the emission."""
    torch.manual_seed(seed)
    leaf = emission.detach().clone().requires_grad_()
    losses = bridge(critic, leaf)
    return losses.detach(), torch.autograd.grad(losses.sum(), leaf)[0]
