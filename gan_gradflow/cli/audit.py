"""`gan-gradflow audit`: is the gradient of this GAN right, and how good is it?

Hydra in, `audit(config, bridges)` in the middle, a report out: on the terminal, as JSON
and as one HTML page.
"""

import math
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from gan_gradflow.cli import CONFIG_DIR, train
from gan_gradflow.cli.errors import ConfigError, RunError, checking, nearest
from gan_gradflow.cli.validate import validate

if TYPE_CHECKING:
    from torch import Tensor

    from gan_gradflow.audit import AuditReport
    from gan_gradflow.audit.fidelity import Curve
    from gan_gradflow.bridges.base import GradientBridge
    from gan_gradflow.modules.adversarial import AdversarialModule

_OWN: dict[str, Any] = {
    "checkpoint": str | None,
    "trust": list[str],
    "bridges": str | list[str] | None,
    "queries": list[int],
    "total_queries": int,
    "num_samples": int,
}
TOP_LEVEL: dict[str, Any] = {**train.TOP_LEVEL, **_OWN}
_BUDGETS = ("num_directions", "num_draws")  # what a bridge calls its number of queries
_ITERATIONS = 3


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="audit")
def app(cfg: DictConfig) -> None:
    """Check the configuration, audit, and leave with code 1 if a check fails."""
    with checking("audit", cfg.run_dir):
        config = validate(cfg, TOP_LEVEL)
        config = _of_checkpoint(config) if config["checkpoint"] else config
        report = audit(config, _wanted_bridges(config))
    violations = sum(f.severity.value == "violation" for f in report.findings)
    if violations:
        plural = "s" if violations > 1 else ""
        page = Path(config["run_dir"]) / "audit.html"
        raise RunError(f"{violations} violation{plural}, see {page}")


def audit(config: dict[str, Any], bridges: Mapping[str, Any]) -> "AuditReport":
    """Audit as configured; the report that is also written to the run folder.

    Args:
        config: a training configuration with the keys of `configs/audit.yaml`.
        bridges: the configuration of every bridge to measure, by name; the first is the
            one that is audited.

    Raises:
        ConfigError: something cannot be built; nothing was run.
    """
    import lightning as L
    from rich.console import Console

    from gan_gradflow.audit.page import page
    from gan_gradflow.cli import build
    from gan_gradflow.cli.console import quiet_libraries

    quiet_libraries()
    _check_numbers(config)
    started = time.monotonic()
    L.seed_everything(config["seed"], verbose=False)
    datamodule = build.build_datamodule(config)
    module = build.build_module(config)
    trainer = build.build_trainer({**config, "logger": None}, [])
    _load(module, config)
    module.to(trainer.strategy.root_device)
    size = config["data"]["batch_size"]
    reals = [
        datamodule.train_floats(slice(i * size, (i + 1) * size)).to(module.device)
        for i in range(_ITERATIONS)
    ]
    autocast = trainer.precision_plugin.train_step_context
    report, curves = _examine(module, reals, autocast, config, bridges)
    report.seconds = time.monotonic() - started
    folder = Path(config["run_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    (folder / "audit.json").write_text(report.to_json() + "\n")
    facts = _facts(config, bridges, report.seconds)
    (folder / "audit.html").write_text(page(report, facts, _plots(report, curves)))
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    console.print(report)
    console.print(f"{folder / 'audit.html'}", soft_wrap=True, highlight=False)
    return report


def _examine(
    module: "AdversarialModule",
    reals: "Sequence[Tensor]",
    autocast: Any,
    config: dict[str, Any],
    bridges: Mapping[str, Any],
) -> "tuple[AuditReport, list[Curve]]":
    """Every section in turn; the last two only if the round can be played."""
    import copy

    from gan_gradflow.audit.fidelity import (
        check_fidelity,
        fidelity_tables,
        measure_curves,
    )
    from gan_gradflow.audit.information import (
        check_information,
        information_tables,
        watch_boundary,
    )
    from gan_gradflow.audit.own_round import audit_module, without_trainer
    from gan_gradflow.types import Access

    module = without_trainer(module)
    report = audit_module(module, reals, autocast)
    if {"step-raised", "not-a-module"} & set(report.codes()):
        return report, []
    boundary = watch_boundary(copy.deepcopy(module), reals[0], autocast)
    found = list(check_information(boundary))
    report.findings += found
    report.tables += information_tables(boundary, reals[0], found)
    access = config["critic"]["access"]
    shape: Any = module.generator.network.event_shape
    curves = measure_curves(
        module,
        reals[0][: config["num_samples"]],
        {
            name: _budgets(node, math.prod(shape), config["queries"])
            for name, node in bridges.items()
        },
        config["total_queries"],
        None if access is None else Access(access),
    )
    found = list(check_fidelity(curves, next(iter(bridges))))
    report.findings += found
    report.tables += fidelity_tables(curves, found)
    return report, curves


def _budgets(
    node: dict[str, Any], dim: int, queries: Sequence[int]
) -> "list[GradientBridge] | str":
    """A bridge at its own budget and at others; or why it cannot be built."""
    from gan_gradflow.cli.build import build

    try:
        bridges = [build({"bridge": node}, "bridge")]
        holder = next(_holders(node), None)
        if holder:
            found = [_within(node, holder, wanted, dim) for wanted in queries]
            bridges += [bridge for bridge in found if bridge]
        by_queries = {b.eval().queries_per_sample(dim): b for b in bridges}
    except (ConfigError, ValueError) as error:
        return str(error)
    return [by_queries[count] for count in sorted(by_queries)]


def _holders(node: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The paths to the keys that say how many queries a bridge spends."""
    for key, value in node.items():
        if key in _BUDGETS:
            yield (key,)
        elif isinstance(value, dict):
            yield from ((key, *path) for path in _holders(value))


def _within(
    node: dict[str, Any], path: tuple[str, ...], queries: int, dim: int
) -> "GradientBridge | None":
    """The bridge that spends as many queries as it can within a budget."""
    from gan_gradflow.cli.build import build

    count = queries
    while count >= 1:
        config: Any = OmegaConf.create(node)
        OmegaConf.update(config, ".".join(path), count)
        try:
            plain = OmegaConf.to_container(config)
            bridge = build({"bridge": plain}, "bridge").eval()
            spent = bridge.queries_per_sample(dim)
        except (ConfigError, ValueError):  # odd pairs, more directions than dimensions
            count -= 1
            continue
        if spent <= queries:
            return bridge
        count = min(count - 1, count * queries // spent)
    return None


def _load(module: "AdversarialModule", config: dict[str, Any]) -> None:
    from gan_gradflow.modules.checkpoint import read_checkpoint

    if not config["checkpoint"]:
        return
    try:
        module.load_state_dict(read_checkpoint(config["checkpoint"])["state_dict"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"checkpoint: the weights in {config['checkpoint']} do not fit the "
            f"configuration ({reason})"
        ) from error


def _of_checkpoint(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the checkpoint, with what was overridden for this audit."""
    from hydra.core.hydra_config import HydraConfig

    from gan_gradflow.cli.sample import refuse_untrusted
    from gan_gradflow.modules.checkpoint import CheckpointError, read_checkpoint

    try:
        stored = read_checkpoint(config["checkpoint"])["hyper_parameters"]["config"]
    except CheckpointError as error:
        raise ConfigError(f"checkpoint: {error}") from error
    except KeyError as error:
        raise ConfigError(f"checkpoint: it holds no configuration ({error})") from error
    merged: Any = OmegaConf.create({**stored, **{key: config[key] for key in _OWN}})
    given: Any = OmegaConf.create(config)
    for override in HydraConfig.get().overrides.task:
        key = override.lstrip("+~").partition("=")[0]
        if OmegaConf.select(given, key, default=_NOTHING) is _NOTHING:
            raise ConfigError(
                f"{key} cannot be changed for a checkpoint, which has a configuration of "
                f"its own; leave out {override}"
            )
        OmegaConf.update(merged, key, OmegaConf.select(given, key), merge=False)
    for key in ("run_name", "run_dir"):
        merged[key] = config[key]
    plain: Any = OmegaConf.to_container(merged)
    refuse_untrusted(plain, ["lightning", *config["trust"]])
    return plain


_NOTHING = object()


def _wanted_bridges(config: dict[str, Any]) -> dict[str, Any]:
    """The configurations of the bridges to measure, by name, the audited one first."""
    from hydra import compose
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    known = GlobalHydra.instance().config_loader().get_group_options("bridge")
    own = HydraConfig.get().runtime.choices["bridge"]
    if config["checkpoint"] and "bridge" not in _overridden():
        own = _name_of(config["bridge"])
    wanted = config["bridges"] or []
    wanted = (
        known if wanted == "all" else [wanted] if isinstance(wanted, str) else wanted
    )
    for name in wanted:
        if name not in known:
            raise ConfigError(f"bridges: there is no {name!r}; {nearest(name, known)}")
    nodes: dict[str, Any] = {own: config["bridge"]}
    for name in wanted:
        if name not in nodes:
            composed: Any = compose("train", [f"bridge={name}", "run_dir=none"])
            nodes[name] = OmegaConf.to_container(composed.bridge, resolve=True)
    return nodes


def _overridden() -> list[str]:
    from hydra.core.hydra_config import HydraConfig

    return [override.partition("=")[0] for override in HydraConfig.get().overrides.task]


def _name_of(node: dict[str, Any]) -> str:
    """The YAML that builds the same class; its name, or the class's."""
    for path in sorted((CONFIG_DIR / "bridge").glob("*.yaml")):
        if OmegaConf.load(path)["_target_"] == node["_target_"]:
            return path.stem
    return str(node["_target_"]).rpartition(".")[2]


def _check_numbers(config: dict[str, Any]) -> None:
    for key in ("total_queries", "num_samples"):
        if config[key] < 2:
            raise ConfigError(f"{key} must be at least 2, got {config[key]}; try 32")
    if any(count < 1 for count in config["queries"]):
        raise ConfigError(f"queries must be at least 1 each, got {config['queries']}")
    if config["num_samples"] > config["data"]["batch_size"]:
        raise ConfigError(
            f"num_samples is {config['num_samples']}, and data.batch_size "
            f"{config['data']['batch_size']}; ask for no more than a batch"
        )


def _facts(
    config: dict[str, Any], bridges: Mapping[str, Any], seconds: float
) -> dict[str, str]:
    import torch

    names = ("generator", "discriminator", "objective", "penalty", "channel")
    parts = {n: str(config[n]["_target_"]).rpartition(".")[2] for n in names}
    return {
        "weights": config["checkpoint"] or "at initialisation",
        "bridge": next(iter(bridges)),
        **parts,
        "seed": str(config["seed"]),
        "took": f"{seconds:.1f} s on {platform.machine()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads",
    }


def _plots(report: "AuditReport", curves: "Sequence[Curve]") -> dict[str, list[str]]:
    from gan_gradflow.audit import plots
    from gan_gradflow.audit.report import DIRECTION, FIDELITY, HEALTH

    drawn = {}
    for section, draw in (
        (DIRECTION, plots.direction_plot),
        (HEALTH, plots.health_plot),
    ):
        tables = [t for t in report.tables if t.section == section and t.rows]
        drawn[section] = [draw(table) for table in tables]
    drawn[FIDELITY] = [plots.fidelity_plot(curves)] if curves else []
    return drawn
