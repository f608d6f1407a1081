"""From a checked configuration to the parts of a run."""

from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate

from gan_gradflow.cli.errors import ConfigError, root_cause
from gan_gradflow.modules.adversarial import AdversarialModule
from gan_gradflow.modules.discriminator import DiscriminatorModule
from gan_gradflow.modules.generator import GeneratorModule
from gan_gradflow.types import Access


def build(config: dict[str, Any], key: str) -> Any:
    """Instantiate the node at `key`.

    Raises:
        ConfigError: the class refused its arguments; the message is its own.
    """
    try:
        return instantiate(config[key], _convert_="all")
    except Exception as error:
        raise ConfigError(f"{key}: {root_cause(error)}") from error


def build_datamodule(config: dict[str, Any]) -> L.LightningDataModule:
    """The data, loaded and checked.

    Raises:
        ConfigError: the data cannot be had, or do not fit the configuration.
    """
    datamodule = build(config, "data")
    try:
        datamodule.prepare_data()
        datamodule.setup("fit")
    except (ValueError, OSError) as error:
        raise ConfigError(f"data: {error}") from error
    return datamodule


def build_generator(config: dict[str, Any]) -> GeneratorModule:
    """The generator with its optimizer."""
    network = build(config, "generator")
    expected = tuple(config["data"]["event_shape"])
    if tuple(network.event_shape) != expected:
        raise ConfigError(
            f"generator.event_shape is {list(network.event_shape)}, and "
            f"data.event_shape is {list(expected)}; make them equal"
        )
    try:
        return GeneratorModule(
            _in_memory_format(network, config),
            build(config["optimizer"], "generator"),
            config["average_decay"],
            config["clip_norm"]["generator"],
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def build_module(config: dict[str, Any]) -> AdversarialModule:
    """Both players, the bridge between them, and the critic."""
    critic = config["critic"]
    generator = build_generator(config)
    network = build(config, "discriminator")
    bridge = build(config, "bridge")
    try:
        discriminator = DiscriminatorModule(
            _in_memory_format(network, config),
            build(config, "objective"),
            build(config, "penalty"),
            build(config["optimizer"], "discriminator"),
            config["clip_norm"]["discriminator"],
        )
        module = AdversarialModule(
            generator,
            discriminator,
            bridge,
            config["n_critic"],
            config["seed"],
            None if critic["access"] is None else Access(critic["access"]),
            critic["budget"],
            critic["chunk_size"],
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    module.save_hyperparameters({"config": config}, logger=False)
    return module


def build_callbacks(config: dict[str, Any]) -> list[L.Callback]:
    """Every callback that is configured; a null one is left out."""
    callbacks = config["callbacks"] or {}
    return [build(callbacks, name) for name, node in callbacks.items() if node]


def build_trainer(config: dict[str, Any], callbacks: list[L.Callback]) -> L.Trainer:
    """Lightning's trainer with the callbacks and the logger."""
    logger = build(config, "logger") if config["logger"] else False
    try:
        return instantiate(config["trainer"], _convert_="all")(
            callbacks=callbacks, logger=logger
        )
    except Exception as error:
        raise ConfigError(f"trainer: {root_cause(error)}") from error


def _in_memory_format(
    network: torch.nn.Module, config: dict[str, Any]
) -> torch.nn.Module:
    if not config["channels_last"]:
        return network
    return network.to(memory_format=torch.channels_last)
