"""Train a generator when the gradient cannot simply flow from the discriminator."""

__version__ = "0.1.0"
