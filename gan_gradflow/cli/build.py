"""From a checked configuration to the parts of a run."""

import contextlib
import copy
import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class, instantiate
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from omegaconf import OmegaConf
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from gan_gradflow.bridges.base import GradientBridge
from gan_gradflow.callbacks.collapse_alarm import CollapseAlarm
from gan_gradflow.callbacks.likelihood import Likelihood
from gan_gradflow.callbacks.quality import QualityReport
from gan_gradflow.channels.base import Channel, ChannelError
from gan_gradflow.channels.simulator import SimulatorChannel
from gan_gradflow.cli.bridges import names_of
from gan_gradflow.cli.errors import ConfigError
from gan_gradflow.cli.launching import synchronises_batch_norm
from gan_gradflow.cli.messages import node_at_fault, other_kind, root_cause
from gan_gradflow.cli.networks import (
    check_discriminator,
    check_emission,
    check_generator,
    try_out,
)
from gan_gradflow.cli.options import content_of, options_of
from gan_gradflow.metrics.base import SampleQuality
from gan_gradflow.modules.adversarial import AdversarialModule
from gan_gradflow.modules.compatibility import DeadEndError
from gan_gradflow.modules.discriminator import DiscriminatorModule
from gan_gradflow.modules.generator import GeneratorModule
from gan_gradflow.modules.query_plan import QueryPlan
from gan_gradflow.networks.augmentations import Augmentation
from gan_gradflow.objectives.base import Objective
from gan_gradflow.objectives.penalties import Penalty
from gan_gradflow.types import Access

_PACKAGE = __name__.partition(".")[0]


def build(config: dict[str, Any], key: str, name: str | None = None) -> Any:
    """Instantiate the node at `key`, which messages call `name`.

    Raises:
        ConfigError: the class refused its arguments; the message is its own, below the
            key of the argument or of the class. Or it is not of the kind that belongs
            there.
    """
    try:
        part = instantiate(config[key], _convert_="all")
    except Exception as error:
        below, said = node_at_fault(error), root_cause(error)
        place = ".".join(filter(None, [name or key, below]))
        node: Any = OmegaConf.create(config[key])
        arguments = OmegaConf.select(node, below) if below else node
        is_argument = said.split(" ")[0] in (arguments or ())  # none in a list
        raise ConfigError(f"{place}{'.' if is_argument else ': '}{said}") from error
    _check_kind(name or key, part)
    return part


_KINDS: dict[str, type] = {
    "bridge": GradientBridge,
    "channel": Channel,
    "objective": Objective,
    "penalty": Penalty,
    "augmentation": Augmentation,
    "queries": QueryPlan,
    "metrics": SampleQuality,
    "callbacks": L.Callback,
    "logger": Logger,
    "data": L.LightningDataModule,
}


def _check_kind(place: str, part: Any) -> None:
    """A part is of its kind, and has set what classes of ours only annotate."""
    wanted = _KINDS.get(place.partition(".")[0], object)
    if not isinstance(part, wanted):
        raise ConfigError(f"{place}: {other_kind(type(part), wanted)}")
    for kind in type(part).__mro__:
        if not kind.__module__.startswith(f"{_PACKAGE}."):
            continue
        for name in inspect.get_annotations(kind):
            if not hasattr(part, name):
                raise ConfigError(
                    f"{place}: {type(part).__name__} has no `{name}`, which every "
                    f"{kind.__name__} declares in its class body; {kind.__module__} says "
                    "what it means"
                )


def build_datamodule(config: dict[str, Any]) -> L.LightningDataModule:
    """The data, loaded and checked.

    Raises:
        ConfigError: the data cannot be had, or do not fit the configuration.
    """
    datamodule: L.LightningDataModule = build(config, "data")
    load(datamodule)
    return datamodule


def load(datamodule: L.LightningDataModule) -> None:
    """Load and check the data; as late as possible, for it may write to the disk.

    Raises:
        ConfigError: the data cannot be had, or do not fit the configuration.
    """
    try:
        datamodule.prepare_data()
        datamodule.setup("fit")
        datamodule.train_dataloader()
    except (ValueError, OSError) as error:
        raise ConfigError(f"data: {error}") from error


def build_generator(config: dict[str, Any]) -> GeneratorModule:
    """The generator with its optimizer, and the bridge that its emission crosses."""
    network = build(config, "generator")
    check_generator(network)
    channel = build(config, "channel")
    _check_shapes(network.event_shape, channel, config["data"]["event_shape"])
    try:
        return GeneratorModule(
            _in_memory_format(network, config),
            build(config, "bridge"),
            channel,
            *_build_optimizer(config, "generator", network),
            config["average_decay"],
            config["clip_norm"]["generator"],
            config["entropy_weight"],
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def build_module(config: dict[str, Any]) -> AdversarialModule:
    """Both players, the bridge between them, and the critic."""
    critic = config["critic"]
    _check_vocabulary(config)
    generator = build_generator(config)
    network = build(config, "discriminator")
    check_discriminator(network)
    try:
        discriminator = DiscriminatorModule(
            _in_memory_format(network, config),
            build(config, "objective"),
            build(config, "penalty"),
            build(config, "augmentation"),
            *_build_optimizer(config, "discriminator", network),
            config["clip_norm"]["discriminator"],
        )
        try_out(discriminator, config["data"]["event_shape"])
        module = AdversarialModule(
            generator,
            discriminator,
            config["n_critic"],
            config["seed"],
            None if critic["access"] is None else Access(critic["access"]),
            critic["budget"],
            critic["chunk_size"],
            config["on_nonfinite"],
        )
        module.plan_queries(build(config, "queries"))
    except DeadEndError as error:
        able = ", ".join(names_of(lambda traits: traits.access is Access.SCORES))
        raise ConfigError(
            f"{error}{_chosen(config, str(error))}; bridges that need scores only: {able}"
        ) from error
    except ConfigError:
        raise
    except ValueError as error:
        group = "critic." if str(error).partition(" ")[0] in critic else ""
        said = f"{group}{error}{_chosen(config, str(error))}"
        raise ConfigError(said) from error
    with _saving_no_failures(generator.channel):
        _try_the_bridge(module, config["data"])
    dim = math.prod(config["data"]["event_shape"])
    per_sample = module.query_plan.queries_per_sample(module.bridge, dim)
    needed = per_sample * config["data"]["batch_size"]
    if critic["budget"] is not None and critic["budget"] < needed:
        raise ConfigError(
            f"critic.budget is {critic['budget']}, and one iteration takes {needed} "
            "queries; raise the budget, or lower data.batch_size or the bridge's number "
            "of queries"
        )
    module.save_hyperparameters({"config": config}, logger=False)
    _compile(module, config)
    return module


def know_classes(module: AdversarialModule, datamodule: L.LightningDataModule) -> None:
    """Tell a conditional generator how frequent each class of the data is.

    Raises:
        ConfigError: the data have no labels, or other classes than the generator.
    """
    try:
        module.generator.know_classes(datamodule.train_labels)
    except ValueError as error:
        raise ConfigError(f"generator: {error}") from error


def build_callbacks(
    config: dict[str, Any],
    datamodule: L.LightningDataModule,
    module: AdversarialModule,
    begins: bool = True,
) -> list[L.Callback]:
    """Every callback that is configured; a null one is left out.

    Args:
        config: the configuration of the run.
        datamodule: its data.
        module: the players.
        begins: false if the run goes on: what it began from need not be there any more.

    Raises:
        ConfigError: a callback refused its arguments, or does not fit the data or players.
    """
    callbacks = config["callbacks"] or {}
    built = [
        build(callbacks, name, f"callbacks.{name}")
        for name, node in callbacks.items()
        if node
    ]
    for callback in built:
        if isinstance(callback, QualityReport):
            _check_kind("metrics", callback.metric)
            try:
                callback.prepare(datamodule)
            except ValueError as error:
                raise ConfigError(f"metrics: {error}") from error
        if isinstance(callback, Likelihood) and begins:
            try:
                callback.check(module.generator)
            except ValueError as error:
                raise ConfigError(f"callbacks.likelihood.start: {error}") from error
        if isinstance(callback, CollapseAlarm):
            try:
                callback.prepare(datamodule, module.discriminator.network, built)
            except ValueError as error:
                raise ConfigError(
                    f"callbacks.collapse_alarm: {error}, or use "
                    "callbacks.collapse_alarm=null"
                ) from error
    return built


def build_trainer(
    config: dict[str, Any], callbacks: list[L.Callback], first: int = 0
) -> L.Trainer:
    """Lightning's trainer with the callbacks and the logger.

    Args:
        config: the configuration of the run.
        callbacks: what `build_callbacks` made of it.
        first: iterations that are done already; TensorBoard forgets later ones.
    """
    logger = _build_logger(config, first) if config["logger"] else False
    settings: dict[str, Any] = {}
    every = config["trainer"].get("log_every_n_steps")
    if every:  # a run that is shorter logs once
        settings["log_every_n_steps"] = min(every, config["max_iterations"])
    try:
        make = instantiate(config["trainer"], _convert_="all")
        if SLURMEnvironment.detect():
            # We requeue by ourselves, at the end of an iteration.
            others = make.keywords.get("plugins") or []
            settings["plugins"] = [*others, SLURMEnvironment(auto_requeue=False)]
        return make(
            callbacks=callbacks,
            logger=logger,
            sync_batchnorm=synchronises_batch_norm(config["trainer"]),
            **settings,
        )
    except Exception as error:
        said, accelerator = root_cause(error), config["trainer"].get("accelerator")
        if re.search("No supported gpu|can not run on your system", said):
            said += f" (trainer.accelerator={accelerator}); use trainer.accelerator=cpu"
        raise ConfigError(f"trainer: {said}") from error


def _chosen(config: dict[str, Any], said: str) -> str:
    """The options of the groups that a message speaks of, as they are typed.

    A resumed run's classes need not be those of the options.
    """
    if not HydraConfig.initialized():
        return ""
    options = HydraConfig.get().runtime.choices
    typed = []
    for group in ("generator", "discriminator", "bridge", "channel"):
        target = config[group]["_target_"]
        words = f"{group}|{target.rpartition('.')[2]}"
        file = options_of(group).get(str(options.get(group)))
        if file is None or not re.search(rf"\b({words})\b", said):
            continue
        if content_of(file).get("_target_") == target:
            typed.append(f"{group}={file.stem}")
    return f" ({', '.join(typed)})" if typed else ""


@contextlib.contextmanager
def _saving_no_failures(channel: Channel) -> Iterator[None]:
    """Inside, a simulator that fails leaves no files: nothing runs yet."""
    if not isinstance(channel, SimulatorChannel):
        yield
        return
    workers = channel.workers
    folder, workers.failures = workers.failures, None
    try:
        yield
    finally:
        workers.failures = folder


def _check_vocabulary(config: dict[str, Any]) -> None:
    """Tokens of the data are tokens of both players."""
    known = config["data"].get("vocabulary")
    penalty = config["penalty"]["_target_"].rpartition(".")[2]
    if known is not None and penalty != "NoPenalty":
        raise ConfigError(
            f"penalty: {penalty} differentiates samples, and the data are tokens; use "
            "penalty=none"
        )
    for player in ("generator", "discriminator"):
        found = config[player].get("vocabulary", known)
        if found != known:
            raise ConfigError(
                f"{player}.vocabulary is {found}, and data.vocabulary {known}; make them "
                "equal"
            )


def _check_shapes(
    sent: Sequence[int], channel: Channel, expected: Sequence[int]
) -> None:
    """Samples must arrive in the shape of the data, and reals stay in it."""
    try:
        arriving = channel.received_shape(sent)
        reals = channel.received_shape(expected) if channel.on_reals else None
    except ValueError as error:
        raise ConfigError(f"channel: {error}") from error
    if list(arriving) != list(expected):
        behind = "" if list(arriving) == list(sent) else f"{list(arriving)} behind the "
        behind += "channel, " if behind else ""
        raise ConfigError(
            f"generator.event_shape is {list(sent)}, {behind}and data.event_shape is "
            f"{list(expected)}; make them equal"
        )
    if reals is not None and list(reals) != list(expected):
        raise ConfigError(
            f"channel.on_reals is true, and the channel turns reals {list(expected)} "
            f"into {list(reals)}; use channel.on_reals=false"
        )


def _build_logger(config: dict[str, Any], first: int) -> Any:
    target = get_class(config["logger"]["_target_"])
    if first == 0 or not issubclass(target, TensorBoardLogger):
        return build(config, "logger")
    return build({"logger": {**config["logger"], "purge_step": first + 1}}, "logger")


def _build_optimizer(
    config: dict[str, Any], player: str, network: torch.nn.Module
) -> tuple[
    Callable[[Iterable[torch.nn.Parameter]], Optimizer],
    Callable[[Optimizer], LRScheduler],
]:
    """The makers of a player's optimizer and of its schedule, each tried out once here."""
    make = build(config["optimizer"], player, f"optimizer.{player}")
    make_schedule = build(config["schedule"], player, f"schedule.{player}")
    try:
        optimizer = make(network.parameters())
    except (ValueError, TypeError, RuntimeError) as error:
        rate = "learning rate" in str(error)
        key, way = (".lr", "; try 2e-4") if rate else ("", "")
        raise ConfigError(f"optimizer.{player}{key}: {error}{way}") from error
    try:
        schedule = make_schedule(optimizer)
        follows = isinstance(schedule, LRScheduler)
        if follows and not isinstance(schedule, ReduceLROnPlateau):
            optimizer.step()  # without gradients: nothing moves
            schedule.step()
            return make, make_schedule
    except (ValueError, TypeError, AttributeError, ZeroDivisionError) as error:
        node = config["schedule"][player].items()
        given = ", ".join(f"{k}={v}" for k, v in node if not k.startswith("_"))
        raise ConfigError(f"schedule.{player} with {given}: {error}") from error
    raise ConfigError(
        f"schedule.{player}: {type(schedule).__name__} does not follow from the "
        f"iteration alone; choose schedule@schedule.{player}=cosine"
    )


def _try_the_bridge(module: AdversarialModule, data: dict[str, Any]) -> None:
    """Let a copy of the generator emit a batch across a copy of the bridge.

    What the bridge's parts ask of an emission shows here, before the run.
    """
    module = copy.deepcopy(module)
    module.critic.function = module.generator_losses
    module.critic.budget = None
    batch = data["batch_size"]
    with torch.random.fork_rng():
        latents = torch.randn(batch, module.generator.latent_dim)
        labels = module.generator.labels_for(batch)
        reals = torch.zeros(batch, *data["event_shape"])
        try:
            module.critic.context = module.discriminator.context(reals, labels)
        except ValueError as error:
            raise ConfigError(f"discriminator: {error}") from error
        try:
            emission = module.generator(latents, labels)
        except Exception as error:
            told = "" if labels is None else " and their labels"
            raise ConfigError(
                f"generator: it cannot turn {list(latents.shape)} latents{told} into "
                f"samples: {error}"
            ) from error
        check_emission(module.generator.network, emission, batch)
        try:
            module.bridge.given(labels)(module.critic, emission)
            module.generator.entropy_term(emission)
        except Exception as error:
            for cause in (error, error.__cause__):  # a critic raises what a channel did
                if isinstance(cause, ChannelError):
                    raise ConfigError(f"channel: {cause}") from error
            raise ConfigError(f"bridge: {error}") from error


def _compile(module: AdversarialModule, config: dict[str, Any]) -> None:
    """Let networks compile themselves when they are first used, in place."""
    penalty = module.discriminator.penalty
    if config["compile"]["discriminator"] and penalty.differentiates_twice:
        raise ConfigError(
            f"compile.discriminator is true, and {type(penalty).__name__} differentiates "
            "the discriminator twice, which compiled networks cannot; use penalty=none, "
            "or compile.discriminator=false"
        )
    for player in ("generator", "discriminator"):
        if config["compile"][player]:
            getattr(module, player).network.compile()


def _in_memory_format(
    network: torch.nn.Module, config: dict[str, Any]
) -> torch.nn.Module:
    if not config["channels_last"]:
        return network
    return network.to(memory_format=torch.channels_last)
