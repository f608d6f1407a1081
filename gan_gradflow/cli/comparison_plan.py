"""Which runs a comparison consists of, and which of them are done.

A run is recognised by the digest of its whole configuration: it lies in a folder named by
it, and is done when its `summary.json` says that it finished.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from gan_gradflow.cli.errors import ConfigError
from gan_gradflow.cli.messages import explained
from gan_gradflow.cli.train import RUN
from gan_gradflow.cli.train import TOP_LEVEL as OF_TRAIN
from gan_gradflow.cli.trust import packages_of
from gan_gradflow.cli.validate import validate
from gan_gradflow.overrides import key_of, quoted

ABOUT_COMPARING = ("bridges", "variants", "seeds", "budgets", "jobs", "runs")
"""Keys that say what is compared, and are no part of a run's configuration."""

_TRAIN = [sys.executable, "-m", "gan_gradflow", "train"]


class Planned(NamedTuple):
    """One run of a comparison.

    Attributes:
        label: what it is called; the runs of several seeds share it.
        seed: the run's.
        overrides: of `train`, all but the seed.
        config: the whole configuration.
        digest: of the configuration.
        folder: where the run lies, or will.
    """

    label: str
    seed: int
    overrides: list[str]
    config: dict[str, Any]
    digest: str
    folder: Path

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.label}, seed {self.seed}"


def plan(config: dict[str, Any], overrides: list[str]) -> list[Planned]:
    """All runs of a comparison, one label after the other; inside a Hydra app only.

    Args:
        config: of the comparison.
        overrides: its command line, of which all that `train` understands is passed on.

    Raises:
        ConfigError: a run cannot be configured so.
    """
    from gan_gradflow.modules.checkpoint import digest_of

    shared = [
        o for o in overrides if not key_of(o).startswith((*ABOUT_COMPARING, "run_"))
    ]
    for key in ("bridge", "seed", "resume"):
        if any(key_of(o) == key for o in shared):
            raise ConfigError(
                f"{key} is what a comparison sets for each run; use bridges=[...] and "
                "seeds=[...], and run the same command again to go on"
            )
    _require_distinct("seeds", config["seeds"])
    _require_distinct("budgets", config["budgets"])
    planned = []
    for label, own in _labelled(config):
        cfg = _composed(label, [*shared, *own])
        folder = _folder(label, cfg, config["run_dir"])
        for seed in config["seeds"]:
            place = folder / f"seed{seed}"
            of_run = _resolved(label, cfg, seed, str(place))
            planned.append(
                Planned(label, seed, [*shared, *own], of_run, digest_of(of_run), place)
            )
    return planned


def is_done(run: Planned) -> bool:
    """Whether the run lies finished in its folder.

    Raises:
        ConfigError: the folder holds a run of another configuration.
    """
    from gan_gradflow.modules.checkpoint import digest_of

    if not (run.folder / "config.yaml").exists():
        return False
    try:
        found: Any = OmegaConf.to_container(OmegaConf.load(run.folder / "config.yaml"))
        digest = digest_of(found)
    except Exception as error:  # a damaged file can fail in any way
        raise ConfigError(
            f"{run.folder}/config.yaml cannot be read ({' '.join(str(error).split())}); "
            "move the folder away, or choose another run_name"
        ) from error
    if digest != run.digest:
        raise ConfigError(
            f"{run.folder} holds a run of another configuration than {run.name}; move it "
            "away, or choose another run_name"
        )
    try:
        return bool(json.loads((run.folder / "summary.json").read_text())["finished"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def command_for(run: Planned, config_dirs: list[str]) -> list[str]:
    """The command that begins the run, or goes on with it where it has left a checkpoint.

    What a run left behind that never came to a checkpoint is removed.
    """
    command = [*_TRAIN, *config_dirs]
    if _has_checkpoint(run):
        return [*command, f"resume={quoted(run.folder)}", *_trust(run)]
    shutil.rmtree(run.folder, ignore_errors=True)
    place = f"hydra.run.dir={quoted(run.folder)}"
    return [*command, *run.overrides, f"seed={run.seed}", place]


def commands_for_launcher(
    runs: list[Planned], config_dirs: list[str], launcher: list[str]
) -> dict[str, list[str]]:
    """Sweeps that hand all seeds of a label to one of Hydra's launchers.

    Args:
        runs: those to be done.
        config_dirs: options that let Hydra find the user's configurations.
        launcher: overrides that choose the launcher and set it up.

    Returns:
        The commands by what to call them.
    """
    commands = {}
    start = [*_TRAIN, "-m", *config_dirs]
    for label in dict.fromkeys(run.label for run in runs):
        begun = [r for r in runs if r.label == label and _has_checkpoint(r)]
        fresh = [r for r in runs if r.label == label and not _has_checkpoint(r)]
        if fresh:
            seeds = ",".join(str(run.seed) for run in fresh)
            place = f"hydra.sweep.dir={quoted(fresh[0].folder.parent)}"
            commands[label] = [
                *[*start, *fresh[0].overrides, f"seed={seeds}", place],
                *["hydra.sweep.subdir=seed${seed}", *launcher],
            ]
        if begun:
            folders = ",".join(quoted(run.folder) for run in begun)
            place = f"hydra.sweep.dir={quoted(begun[0].folder.parent / 'resumed')}"
            commands[f"{label}, going on"] = [
                *[*start, f"resume={folders}", place, *_trust(begun[0]), *launcher]
            ]
    return commands


def _labelled(config: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """What is compared: labels, each with overrides of its own."""
    chosen: dict[str, list[str]] = {}
    for bridge in config["bridges"]:
        chosen.setdefault(bridge, [f"bridge={bridge}"])
    for name, own in config["variants"].items():
        if name in chosen:
            raise ConfigError(
                f"variants.{name} has the name of a bridge; choose another"
            )
        if not isinstance(own, list) or not all(isinstance(o, str) for o in own):
            raise ConfigError(
                f"variants.{name} is {own!r}, and it must be a list of overrides, such as "
                f'+variants.{name}=["bridge=spsa","data.batch_size=32"]'
            )
        chosen[name] = own
    if not chosen:
        raise ConfigError("there is nothing to compare; use bridges=[exact,spsa]")
    labelled = []
    for label, own in chosen.items():
        for budget in config["budgets"]:
            if budget is None:
                labelled.append((label, own))
            else:
                words = f"{label}, {budget:,} queries"
                labelled.append((words, [*own, f"critic.budget={budget}"]))
    return labelled


def _folder(label: str, cfg: DictConfig, run_dir: str) -> Path:
    """Named by the label, and by everything but the seed."""
    from gan_gradflow.modules.checkpoint import digest_of

    digest = digest_of(_resolved(label, cfg, 0, ""))
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", label)
    return Path(run_dir, "runs", f"{name}-{digest[:8]}")


def _composed(label: str, overrides: list[str]) -> DictConfig:
    from hydra import compose
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        cfg = compose("train", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{label}: {explained(error, 'train', overrides)}") from error
    cfg.run_overrides = overrides  # not those of the comparison
    return cfg


def _resolved(label: str, cfg: DictConfig, seed: int, run_dir: str) -> dict[str, Any]:
    """The configuration of one run, as `train` will check and keep it."""
    cfg.seed, cfg.run_dir = seed, run_dir
    try:
        config = validate(cfg, OF_TRAIN)
    except ConfigError as error:
        raise ConfigError(f"{label}: {error}") from error
    return {key: node for key, node in config.items() if key in RUN}


def _require_distinct(key: str, values: list[Any]) -> None:
    if not values or len(set(values)) < len(values):
        raise ConfigError(
            f"{key} must be one or more different ones, got {values}; leave it out for "
            "the usual"
        )


def _has_checkpoint(run: Planned) -> bool:
    return any((run.folder / "checkpoints").glob("*.ckpt"))


def _trust(run: Planned) -> list[str]:
    packages = packages_of(run.config)
    return [f"trust=[{','.join(packages)}]"] if packages else []
