"""What the generator makes of the same latents as it learns."""

from pathlib import Path

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from gan_gradflow.callbacks.endurance import Endurance
from gan_gradflow.callbacks.point_picture import point_picture
from gan_gradflow.channels.base import Channel
from gan_gradflow.channels.simulator import SimulatorChannel
from gan_gradflow.datamodules.simulated import SimulatedDataModule


class SampleGrid(L.Callback):
    """Grids of fakes from the raw and the averaged generator, as PNG and in TensorBoard.

    The latents are fixed by the seed; the reals are shown once. A conditional generator
    makes a column of each class. Of more than three channels, each is drawn in grey, side
    by side. Samples that are not images are drawn among the reals, as points in the plane
    or as a histogram; a simulator's inputs beside the true ones.

    Args:
        every_n_iterations: how often grids are made.
        num_samples: how many samples are in a grid.
        seed: what the latents follow from.
        folder: where the PNG files go.
    """

    def __init__(
        self, every_n_iterations: int, num_samples: int, seed: int, folder: str
    ) -> None:
        for name, value in (
            ("every_n_iterations", every_n_iterations),
            ("num_samples", num_samples),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}; try 64")
        self.every_n_iterations = every_n_iterations
        self.num_samples = num_samples
        self.seed = seed
        self.folder = Path(folder)
        self._writing = Endurance("a sample grid")

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the reals, once a run."""
        reals = trainer.datamodule.held_out_floats(slice(self.num_samples))
        self._beside = _beside(reals, trainer.datamodule, pl_module.generator.channel)
        if trainer.is_global_zero and not (self.folder / "reals.png").exists():
            self._show(trainer, "reals", picture(reals, name="reals"), "reals.png")

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:  # type: ignore[no-untyped-def]
        """Show the fakes, if it is time to."""
        last = trainer.global_step == trainer.max_steps
        due = trainer.global_step % self.every_n_iterations == 0
        if trainer.is_global_zero and (due or last):
            self.draw(trainer, pl_module)

    def draw(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Path:
        """Make both grids now; the path of the averaged generator's."""
        latents = torch.randn(
            self.num_samples,
            pl_module.generator.latent_dim,
            generator=torch.Generator().manual_seed(self.seed),
        ).to(pl_module.device)
        generator = pl_module.generator
        labels = generator.classes_in_turn(self.num_samples)
        for name, averaged in (("raw", False), ("averaged", True)):
            fakes = generator.sample(latents, averaged=averaged, labels=labels)
            grid = picture(fakes, self._beside, generator.num_classes)
            file = f"iteration_{trainer.global_step:07d}_{name}.png"
            path = self._show(trainer, f"fakes/{name}", grid, file)
        return path

    def _show(self, trainer: L.Trainer, tag: str, grid: Tensor, file: str) -> Path:
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            to_pil_image(grid).save(self.folder / file)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(tag, grid, trainer.global_step)
        return self.folder / file


def _beside(
    reals: Tensor, data: L.LightningDataModule, channel: Channel
) -> Tensor | None:
    """What fakes are to become: reals, or what a simulator made them from, if known."""
    if not isinstance(channel, SimulatorChannel) or channel.on_samples:
        return reals
    if isinstance(data, SimulatedDataModule):
        return torch.tensor([data.parameters])
    return None


def picture(
    samples: Float[Tensor, "n *event"],
    reals: Tensor | None = None,
    columns: int | None = None,
    name: str = "fakes",
) -> Float[Tensor, "3 height width"]:
    """A picture of samples in [0, 1]: images side by side, or points (`point_picture`).

    Args:
        samples: images in [-1, 1], or vectors.
        reals: what vectors are drawn among, `[m, *event]`.
        columns: images in a row; None for as many as there are rows.
        name: what vectors are called.
    """
    samples = samples.detach().float().cpu()
    if samples.ndim == 4:
        columns = columns or max(1, round(len(samples) ** 0.5))
        samples = in_colours(samples)
        return make_grid(
            samples, nrow=columns, normalize=True, value_range=(-1, 1), pad_value=0.5
        )
    beside = None if reals is None else reals.float().cpu().flatten(1)
    return point_picture(samples.flatten(1), beside, name)


def in_colours(
    images: Float[Tensor, "n channels height width"],
) -> Float[Tensor, "n colours height wide"]:
    """Images in [-1, 1] as grey or RGB, which one and three channels are already.

    Two channels are red and green; of more, each is a grey image, side by side.
    """
    channels = images.shape[1]
    if channels == 2:
        blue = images.new_full(images[:, :1].shape, -1)
        return torch.cat([images, blue], 1)
    if channels > 3:
        return torch.cat(images.split(1, dim=1), dim=3)
    return images
