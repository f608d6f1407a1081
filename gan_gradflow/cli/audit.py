"""`gan-gradflow audit`: is the gradient of this GAN right, and how good is it?

Hydra in, `audit(config, bridges)` in the middle, a report out: on the terminal, as JSON
and as one HTML page.
"""

import copy
import math
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from gan_gradflow.cli import CONFIG_DIR, train
from gan_gradflow.cli.errors import ConfigError, RunError, checking
from gan_gradflow.cli.messages import nearest
from gan_gradflow.cli.validate import validate

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from gan_gradflow.audit import AuditReport
    from gan_gradflow.audit.fidelity import Curve
    from gan_gradflow.audit.own_round import Seen
    from gan_gradflow.bridges.base import GradientBridge
    from gan_gradflow.modules.adversarial import AdversarialModule

_OWN: dict[str, Any] = {
    "checkpoint": str | None,
    "bridges": str | list[str] | None,
    "query_counts": list[int],
    "total_queries": int,
    "num_samples": int,
}
TOP_LEVEL: dict[str, Any] = {**train.TOP_LEVEL, **_OWN}
_BUILT: tuple[str, ...] = ("data", "generator", "discriminator", "objective", "penalty")
_BUILT += ("bridge", "channel", "queries", "optimizer", "schedule", "trainer")
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
    import torch
    from rich.console import Console

    from gan_gradflow.audit.own_round import seen_by
    from gan_gradflow.audit.page import page
    from gan_gradflow.cli import build
    from gan_gradflow.cli.console import quiet_libraries

    quiet_libraries()
    _check_numbers(config)
    started = time.monotonic()
    L.seed_everything(config["seed"], verbose=False)
    datamodule = build.build(config, "data")
    module = build.build_module(config)
    build.load(datamodule)
    build.know_classes(module, datamodule)
    trainer = build.build_trainer({**config, "logger": None}, [])
    _load(module, config)
    module.to(trainer.strategy.root_device)
    size = config["data"]["batch_size"]
    # From the start again where the data have fewer than these batches.
    rows = torch.arange(_ITERATIONS * size) % len(datamodule.train_reals)
    labels = datamodule.train_labels
    seen = [
        seen_by(
            module, datamodule.train_floats(r), None if labels is None else labels[r]
        )
        for r in rows.split(size)
    ]
    autocast = trainer.precision_plugin.train_step_context
    report, curves = _examine(module, seen, autocast, config, bridges)
    report.seconds = time.monotonic() - started
    folder = Path(config["run_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    (folder / "audit.json").write_text(report.to_json() + "\n")
    facts = _facts(config, bridges, report.seconds)
    plots = _plots(report, curves)
    for section, drawn in plots.items():
        for plot in drawn:
            plot.savefig(folder / f"{section.lower()}.png", dpi=120)
    (folder / "audit.html").write_text(page(report, facts, plots))
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    console.print(report)
    console.print(f"{folder / 'audit.html'}", soft_wrap=True, highlight=False)
    return report


def _examine(
    module: "AdversarialModule",
    seen: "Sequence[Seen]",
    autocast: Any,
    config: dict[str, Any],
    bridges: Mapping[str, Any],
) -> "tuple[AuditReport, list[Curve]]":
    """Every section in turn; the last two only if the round can be played."""
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
    report = audit_module(module, seen, autocast)
    if {"step-raised", "not-a-module"} & set(report.codes()):
        return report, []
    boundary = watch_boundary(copy.deepcopy(module), seen[0], autocast)
    found = list(check_information(boundary))
    report.findings += found
    report.tables += information_tables(boundary, seen[0].reals, found)
    access = config["critic"]["access"]
    shape: Any = module.generator.network.event_shape
    curves = measure_curves(
        module,
        _first(seen[0], config["num_samples"]),
        {
            name: _budgets(node, math.prod(shape), config["query_counts"])
            for name, node in bridges.items()
        },
        config["total_queries"],
        None if access is None else Access(access),
    )
    found = list(check_fidelity(curves, next(iter(bridges))))
    report.findings += found
    report.tables += fidelity_tables(curves, found)
    return report, curves


def _first(seen: "Seen", count: int) -> "Seen":
    labels = None if seen.labels is None else seen.labels[:count]
    return seen._replace(
        reals=seen.reals[:count], labels=labels, latents=seen.latents[:, :count]
    )


def _budgets(
    node: dict[str, Any], dim: int, queries: Sequence[int]
) -> "list[GradientBridge] | str":
    """A bridge at its own budget and at others; or why it cannot be built."""
    from gan_gradflow.cli.build import build

    try:
        own = build({"bridge": node}, "bridge").eval()
        others = [_within(own, wanted, dim) for wanted in queries]
        bridges = {b.queries_per_sample(dim): b for b in (own, *others) if b}
    except ValueError as error:
        return str(error)
    return [bridges[count] for count in sorted(bridges)]


def _within(own: "GradientBridge", queries: int, dim: int) -> "GradientBridge | None":
    """The bridge with as many draws as it can take within a budget; None if it cannot."""
    count = queries
    while count >= 1:
        bridge = copy.deepcopy(own)
        try:
            bridge.take(count)
            spent = bridge.queries_per_sample(dim)
        except ValueError:  # odd pairs, more directions than dimensions, no such number
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

    from gan_gradflow.cli.trust import refuse_untrusted
    from gan_gradflow.modules.checkpoint import CheckpointError, read_checkpoint

    try:
        stored = read_checkpoint(config["checkpoint"])["hyper_parameters"]["config"]
    except CheckpointError as error:
        raise ConfigError(f"checkpoint: {error}") from error
    except KeyError as error:
        raise ConfigError(f"checkpoint: it holds no configuration ({error})") from error
    merged: Any = OmegaConf.create({**config, **stored})
    given: Any = OmegaConf.create(config)
    for override in HydraConfig.get().overrides.task:
        typed = override.lstrip("+~").partition("=")[0]
        key = typed.rpartition("@")[2].replace("/", ".")
        if OmegaConf.select(given, key, default=_NOTHING) is _NOTHING:
            raise ConfigError(
                f"{typed} cannot be changed for a checkpoint, which has a configuration of "
                f"its own; leave out {override}"
            )
        OmegaConf.update(merged, key, OmegaConf.select(given, key), merge=False)
    for key in (*_OWN, "run_name", "run_dir", "run_overrides", "trust"):
        merged[key] = config[key]
    plain: Any = OmegaConf.to_container(merged)
    for key in _BUILT:
        refuse_untrusted("checkpoint", plain[key], config["trust"], ("lightning.",))
    return validate(OmegaConf.create(plain), TOP_LEVEL)


_NOTHING = object()


def _wanted_bridges(config: dict[str, Any]) -> dict[str, Any]:
    """The configurations of the bridges to measure, by name, the audited one first."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    known = GlobalHydra.instance().config_loader().get_group_options("bridge")
    own = HydraConfig.get().runtime.choices["bridge"]
    if config["checkpoint"] and "bridge" not in _overridden():
        own = _name_of(config["bridge"], known)
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
            nodes[name] = _node(name)
    return nodes


def _overridden() -> list[str]:
    from hydra.core.hydra_config import HydraConfig

    return [override.partition("=")[0] for override in HydraConfig.get().overrides.task]


def _node(name: str) -> Any:
    """A bridge as its YAML has it."""
    from hydra import compose

    composed: Any = compose("train", [f"bridge={name}", "run_dir=none"])
    return OmegaConf.to_container(composed.bridge, resolve=True)


def _name_of(node: dict[str, Any], known: Sequence[str]) -> str:
    """The YAML that builds this very bridge, or else one of its class; or the class."""
    nodes = {name: _node(name) for name in known}
    of_class = [n for n in known if nodes[n]["_target_"] == node["_target_"]]
    exactly = [name for name in of_class if nodes[name] == node]
    return [*exactly, *of_class, str(node["_target_"]).rpartition(".")[2]][0]


def _check_numbers(config: dict[str, Any]) -> None:
    if config["resume"] is not None:
        raise ConfigError("resume is for train; audit a run with checkpoint=...")
    for key in ("total_queries", "num_samples"):
        if config[key] < 2:
            raise ConfigError(f"{key} must be at least 2, got {config[key]}; try 32")
    if any(count < 1 for count in config["query_counts"]):
        raise ConfigError(
            f"query_counts must be at least 1 each, got {config['query_counts']}; try "
            "[2, 8]"
        )
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


def _plots(
    report: "AuditReport", curves: "Sequence[Curve]"
) -> "dict[str, list[Canvas]]":
    from gan_gradflow.audit import plots
    from gan_gradflow.audit.report import DIRECTION, FIDELITY, HEALTH

    drawn: dict[str, list[Canvas]] = {}
    for section, draw in (
        (DIRECTION, plots.direction_plot),
        (HEALTH, plots.health_plot),
    ):
        tables = [t for t in report.tables if t.section == section and t.rows]
        drawn[section] = [draw(table) for table in tables]
    drawn[FIDELITY] = [plots.fidelity_plot(curves)] if curves else []
    return drawn
