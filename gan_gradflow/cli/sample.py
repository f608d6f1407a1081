"""`gan-gradflow sample checkpoint=...`: a grid, images, lines of text or an array."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hydra
from omegaconf import DictConfig

from gan_gradflow.cli import CONFIG_DIR
from gan_gradflow.cli.errors import ConfigError, checking
from gan_gradflow.cli.validate import validate

if TYPE_CHECKING:
    from torch import Tensor

    from gan_gradflow.modules.generator import GeneratorModule

TOP_LEVEL: dict[str, Any] = {
    "checkpoint": str,
    "num_samples": int,
    "weights": Literal["averaged", "raw"],
    "labels": list[int] | None,
    "seed": int,
    "images": bool,
    "npz": bool,
    "trust": list[str],
    "run_name": str,
    "run_dir": str,
}


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="sample")
def app(cfg: DictConfig) -> None:
    """Check the configuration and draw."""
    with checking("sample", cfg.run_dir):
        for path in sample(validate(cfg, TOP_LEVEL)):
            if path.suffix == ".txt":
                print(path.read_text("utf-8"), end="")
            print(path)


def sample(config: dict[str, Any]) -> list[Path]:
    """Draw as configured; the files that were written.

    Raises:
        ConfigError: the checkpoint cannot be read, or the numbers make no sense.
    """
    import torch

    if config["num_samples"] < 1:
        raise ConfigError(
            f"num_samples must be at least 1, got {config['num_samples']}; try 64"
        )
    generator = load_generator(config["checkpoint"], config["trust"])
    latents = torch.randn(
        config["num_samples"],
        generator.latent_dim,
        generator=torch.Generator().manual_seed(config["seed"]),
    )
    labels = _labels(generator, config["labels"], config["num_samples"])
    _check_images(config, generator)
    fakes = draw(generator, latents, labels, config)
    folder = Path(config["run_dir"])
    if hasattr(generator.network, "vocabulary"):
        written = _write_lines(config, fakes, folder)
    else:
        columns = len(config["labels"] or []) or generator.num_classes
        written = _write_pictures(config, fakes, columns, folder)
    if config["npz"]:
        written.append(_write_arrays(fakes, latents, labels, folder))
    return written


def _check_images(config: dict[str, Any], generator: "GeneratorModule") -> None:
    """Raise a ConfigError where single images are asked for and cannot be had."""
    if not config["images"]:
        return
    shape: Any = generator.network.event_shape
    tokens = hasattr(generator.network, "vocabulary")
    if tokens or len(shape) != 3:
        made = "sequences of tokens" if tokens else f"samples of {list(shape)}"
        raise ConfigError(
            f"images is true, and the generator of this checkpoint makes {made}; use "
            "images=false npz=true"
        )
    folder = Path(config["run_dir"]) / "images"
    if folder.exists():
        raise ConfigError(f"{folder} is there already; choose another run_name")


def _write_lines(
    config: dict[str, Any], sequences: "Tensor", folder: Path
) -> list[Path]:
    """A file with a line for each sequence."""
    lines = _lines(config["checkpoint"], sequences)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "samples.txt"
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return [path]


def _write_pictures(
    config: dict[str, Any], fakes: "Tensor", columns: int | None, folder: Path
) -> list[Path]:
    """A grid, and each image if they are asked for."""
    from torchvision.transforms.functional import to_pil_image

    from gan_gradflow.callbacks.sample_grid import in_colours, picture

    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "samples.png"]
    to_pil_image(picture(fakes, columns=columns)).save(written[0])
    if config["images"]:
        digits = len(str(len(fakes) - 1))
        (folder / "images").mkdir()
        for index, fake in enumerate(in_colours(fakes)):
            written.append(folder / "images" / f"{index:0{digits}d}.png")
            plain = (fake.clamp(-1, 1) + 1) / 2
            shown = plain if len(fake) in (1, 3) else picture(fake.unsqueeze(0))
            to_pil_image(shown).save(written[-1])
    return written


def _write_arrays(
    fakes: "Tensor", latents: "Tensor", labels: "Tensor | None", folder: Path
) -> Path:
    import numpy as np

    path = folder / "samples.npz"
    arrays: dict[str, Any] = {"samples": fakes.numpy(), "latents": latents.numpy()}
    if labels is not None:
        arrays["labels"] = labels.numpy()
    np.savez_compressed(path, **arrays)
    return path


def _labels(
    generator: "GeneratorModule", asked: list[int] | None, num_samples: int
) -> "Tensor | None":
    """The class of each sample: those asked for, over and over; all in turn if none are."""
    import torch

    if asked is None:
        return generator.classes_in_turn(num_samples)
    if generator.num_classes is None:
        raise ConfigError(
            f"labels is {asked}, and the generator of this checkpoint knows no classes; "
            "use labels=null"
        )
    if not asked or min(asked) < 0 or max(asked) >= generator.num_classes:
        raise ConfigError(
            f"labels is {asked}, and the generator knows classes 0 to "
            f"{generator.num_classes - 1}; use labels=[0,1], or labels=null for all"
        )
    return torch.tensor(asked).repeat(-(-num_samples // len(asked)))[:num_samples]


def _lines(checkpoint: str, sequences: "Tensor") -> list[str]:
    """What sequences say, by the lexicon of their checkpoint; their tokens without one."""
    from gan_gradflow.datamodules.lexicon import Lexicon
    from gan_gradflow.datamodules.text_lines import TextLinesDataModule
    from gan_gradflow.modules.checkpoint import read_checkpoint

    state = read_checkpoint(checkpoint).get(TextLinesDataModule.__qualname__)
    if state is None:
        return [" ".join(str(int(t)) for t in row) for row in sequences]
    lexicon = Lexicon.from_state(state)
    return [lexicon.text(row) for row in sequences]


def draw(
    generator: "GeneratorModule",
    latents: "Tensor",
    labels: "Tensor | None",
    config: dict[str, Any],
) -> "Tensor":
    """The fakes of these latents, from the weights and with the seed that are configured.

    Raises:
        ConfigError: the channel failed, or not all fakes are finite.
    """
    import torch

    from gan_gradflow.channels.base import ChannelError
    from gan_gradflow.metrics.base import refuse_nonfinite

    averaged = config["weights"] == "averaged"
    torch.manual_seed(config["seed"])  # of generators whose samples are drawn
    try:
        fakes = generator.sample(latents, averaged=averaged, labels=labels)
        refuse_nonfinite(fakes)
    except ChannelError as error:
        raise ConfigError(f"channel: {error}") from error
    except ValueError as error:
        raise ConfigError(f"checkpoint: {error}") from error
    return fakes


def load_generator(checkpoint: str, trust: list[str]) -> "GeneratorModule":
    """The generator of a checkpoint, built from the configuration inside it.

    Args:
        checkpoint: a file written by `train`, on this machine or another.
        trust: packages beside gan_gradflow and torch.nn that the configuration may name.

    Raises:
        ConfigError: the file cannot be read, names a class that is not trusted, or holds
            weights of another architecture.
    """
    from gan_gradflow.cli.build import build_generator
    from gan_gradflow.cli.trust import refuse_untrusted
    from gan_gradflow.modules.checkpoint import CheckpointError, read_checkpoint

    try:
        contents = read_checkpoint(checkpoint)
        config = contents["hyper_parameters"]["config"]
        weights = contents["state_dict"]
        for key in ("generator", "bridge", "channel", "optimizer", "schedule"):
            refuse_untrusted("checkpoint", config[key], trust)
        generator = build_generator(config)
        prefix = "generator."
        generator.load_state_dict(
            {
                k.removeprefix(prefix): v
                for k, v in weights.items()
                if k.startswith(prefix)
            }
        )
    except CheckpointError as error:
        raise ConfigError(f"checkpoint: {error}") from error
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"checkpoint: the weights in {checkpoint} do not fit the generator that its "
            f"configuration describes ({reason})"
        ) from error
    return generator
