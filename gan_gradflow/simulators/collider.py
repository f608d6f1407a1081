"""e+ e- -> gamma, Z -> mu+ mu-: the angle between the electron and the muon.

At beam energy E and Fermi constant G, with s = (2 E)^2 and c = cos(theta), tree-level
theory without masses of leptons gives

    d sigma / d c  ~  A0 (1 + c^2) + A1 c,
    A0 = 1 + 2 Re(r) gv^2 + |r|^2 (gv^2 + ga^2)^2,
    A1 = 4 Re(r) ga^2 + 8 |r|^2 gv^2 ga^2,
    r  = sqrt(2) G MZ^2 / (s - MZ^2 + i s Width / MZ) * s / e^2,

gv = -1/2 + 2 sin^2(thetaW) and ga = -1/2 (Halzen and Martin, *Quarks and Leptons*, 1984,
section 13.6, with a width that grows with s). The photon alone is symmetric in c; its
interference with the Z is not, and changes sign near the pole at 2 E = MZ. One angle tells
A1 / A0 and no more, so parameters on a curve in the plane (E, G) cannot be told apart.
"""

import numpy as np

_Z_MASS, _Z_WIDTH = 91.1876, 2.4952  # GeV
_SIN2_WEAK = 0.2312
_E_SQUARED = 4 * np.pi / 128.9  # the electric charge squared, at the mass of the Z
_FERMI = 1.1663787e-5  # GeV^-2: the unit in which the Fermi constant is given
_VECTOR, _AXIAL = -0.5 + 2 * _SIN2_WEAK, -0.5


class ColliderSimulator:
    """Draws angles by rejection: uniform c, accepted in proportion to the cross-section.

    The problem of Louppe, Hermans and Cranmer (AISTATS 2019), whose observations are taken
    at E = 42 GeV and G = 0.9 nominal ones.
    """

    def __call__(self, parameters: np.ndarray, seed: int) -> np.ndarray:
        """Cosines `[n, 1]` for pairs `[n, 2]` of beam energy and Fermi constant."""
        generator = np.random.default_rng(seed)
        slope = asymmetry(*parameters.astype(np.float64).T)
        cosines = np.empty(len(parameters))
        left = np.arange(len(parameters))
        while len(left):
            proposed = generator.uniform(-1, 1, len(left))
            height = generator.uniform(0, 2 + np.abs(slope[left]))
            accepted = height < 1 + proposed**2 + slope[left] * proposed
            cosines[left[accepted]] = proposed[accepted]
            left = left[~accepted]
        return cosines[:, None]


def asymmetry(energy: np.ndarray, fermi: np.ndarray) -> np.ndarray:
    """A1 / A0 in [-2, 2]; the forward-backward asymmetry is 3/8 of it."""
    s = (2 * energy) ** 2
    pole = s - _Z_MASS**2 + 1j * s * _Z_WIDTH / _Z_MASS
    r = np.sqrt(2) * fermi * _FERMI * _Z_MASS**2 / pole * s / _E_SQUARED
    size = np.abs(r) ** 2
    even = 1 + 2 * r.real * _VECTOR**2 + size * (_VECTOR**2 + _AXIAL**2) ** 2
    odd = 4 * r.real * _AXIAL**2 + 8 * size * _VECTOR**2 * _AXIAL**2
    return odd / even
