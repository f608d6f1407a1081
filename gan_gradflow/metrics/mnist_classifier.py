"""A small convolutional classifier of MNIST digits, shipped with its weights.

    features(x) = relu(W vec(h(x)) + b)  in R^64,    logits(x) = V features(x) + c

where h is four 3x3 convolutions with batch normalisation and three 2x2 max-poolings.
`scripts/train_mnist_classifier.py` trained the weights and prints their accuracy.
"""

from pathlib import Path

from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("mnist_classifier.safetensors")
_LEAST_CONFIDENCE = 0.9  # .995 on digits, .96 on noisy ones; .81 on Fashion-MNIST


class MNISTClassifier(nn.Module):
    """Features and class logits of images `[n, 1, 28, 28]` with values in [-1, 1].

    10 000 images take about a second on two CPU cores. `forward` gives the features,
    so the module can stand as the extractor of a Frechet distance.
    """

    num_classes = 10
    num_features = 64

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_convolution(1, 32),
            nn.MaxPool2d(2),
            *_convolution(32, 48),
            *_convolution(48, 64),
            nn.MaxPool2d(2),
            *_convolution(64, 96),
            nn.MaxPool2d(2),
        )
        self.projection = nn.Linear(96 * 3 * 3, self.num_features)
        self.head = nn.Linear(self.num_features, self.num_classes)

    @classmethod
    def pretrained(cls) -> "MNISTClassifier":
        """The classifier with the shipped weights, frozen and in evaluation mode."""
        classifier = cls()
        classifier.load_state_dict(load_file(WEIGHTS))
        return classifier.eval().requires_grad_(False)

    def forward(
        self, images: Float[Tensor, "batch 1 28 28"]
    ) -> Float[Tensor, "batch features"]:
        """The features of images."""
        return self.projection(self.convolutions(images).flatten(1)).relu()

    def logits(
        self, images: Float[Tensor, "batch 1 28 28"]
    ) -> Float[Tensor, "batch classes"]:
        """The class logits of images; `head` maps features to the same logits."""
        return self.head(self(images))


def _convolution(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


def doubts_about_digits(probabilities: Float[Tensor, "n classes"]) -> str | None:
    """Why figures of classes mean nothing for these reals; None if they may be digits.

    Args:
        probabilities: what the classifier makes of held-out reals.
    """
    confidence = probabilities.amax(1).mean().item()
    if confidence >= _LEAST_CONFIDENCE:
        return None
    return (
        "the data do not look like digits: on held-out reals, the classifier of digits "
        f"has a confidence of {confidence:.2f}, and of .99 on digits. Class coverage, "
        "class KL and confidence mean nothing for them: compare distances only, or "
        "choose metrics=none and `gan-gradflow evaluate +features._target_=PACKAGE.CLASS` "
        "with a classifier of your own"
    )
