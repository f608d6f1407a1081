"""The features by which the FID and the KID of the literature are defined.

The Inception network of TensorFlow's 2015 release, through torchmetrics and
torch-fidelity, which have its weights from
https://github.com/toshas/torch-fidelity/releases (91 MB). Nothing is downloaded here.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics.image.fid import NoTrainInceptionV3
from torchmetrics.utilities.imports import _TORCH_FIDELITY_AVAILABLE

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
_SIZES = (64, 192, 768, 2048)


class InceptionFeatures(nn.Module):
    """Features of images `[n, 1 or 3, height, width]` with values in [-1, 1].

    Images become `uint8` and are resized as in torchmetrics; grey ones are taken as RGB.

    Args:
        num_features: 64, 192, 768 or 2048, by the depth at which they are taken.
        weights: the file of weights; None looks in torch's folder of downloads.

    Raises:
        ValueError: another number of features, or torch-fidelity or the weights are
            missing.
    """

    def __init__(self, num_features: int, weights: str | None) -> None:
        super().__init__()
        if num_features not in _SIZES:
            raise ValueError(
                f"num_features must be one of {_SIZES}, got {num_features}; 2048 is that "
                "of the literature"
            )
        if not _TORCH_FIDELITY_AVAILABLE:
            raise ValueError(
                "Inception's features need torch-fidelity: pip install torch-fidelity, "
                "or choose features._target_=YOUR_NETWORK"
            )
        file = Path(torch.hub.get_dir(), "checkpoints", WEIGHTS)
        file = file if weights is None else Path(weights)
        if not file.is_file():
            raise ValueError(
                f"there are no weights {file}, and nothing is downloaded; fetch {WEIGHTS} "
                "from https://github.com/toshas/torch-fidelity/releases and set "
                "features.weights to it"
            )
        self.inception = NoTrainInceptionV3(
            "inception-v3-compat", [str(num_features)], str(file)
        )

    def forward(
        self, images: Float[Tensor, "n channels height width"]
    ) -> Float[Tensor, "n features"]:
        """The features of images."""
        pixels = ((images + 1) * 127.5).round().to(torch.uint8)
        return self.inception(pixels.expand(-1, 3, -1, -1))
