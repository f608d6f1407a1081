"""What finished runs left in their folders."""

import json
import re
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_gradflow.callbacks.quality_record import QualityPoint, QualityRecord
from gan_gradflow.overrides import last_value

_FIDELITY = ("cosine", "scale", "snr")
_FEW_WORDS = 4
_WITHOUT_EFFECT = re.compile(
    r"(.+\.)?seed|run_.*|logger(\..*)?|data\.root"
    r"|trainer\.(accelerator|devices|num_nodes|strategy|log_every_n_steps|enable_\w+"
    r"|default_root_dir|plugins)"
    r"|callbacks(\.(progress|graceful_stop|throughput|quality|gradient_flow|sample_grid"
    r"|tensorboard_pages|best_checkpoint|last_checkpoint|profiler)(\..*)?)?"
    r"|callbacks\.likelihood\.every_n_iterations"
)
_ALARM = "callbacks.collapse_alarm."  # has no effect, unless it stops
_FOLLOWS = {
    "trainer.max_steps": "max_iterations",
    "data.num_iterations": "max_iterations",
    "data.batches_per_iteration": "n_critic",
}


class ReportError(ValueError):
    """Runs that cannot be reported on, or not together."""


class Run(NamedTuple):
    """One run.

    Attributes:
        label: what it is called in a report; the runs of several seeds share it.
        folder: where it lies.
        config: its whole configuration.
        summary: its `summary.json`.
        points: its quality as it learned.
        fidelity: how good its gradient was in the second half of the run, where that was
            measured: the means of `gradient_flow/`'s cosines, scales and ratios of signal
            to noise. One that not every measurement gave is left out: where the reference
            is too noisy for it, those that have it are the lucky ones.
    """

    label: str
    folder: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    points: list[QualityPoint]
    fidelity: dict[str, float]


def read_run(folder: Path, label: str | None = None) -> Run:
    """A run that has ended.

    Args:
        folder: the run folder.
        label: what to call it; None calls it by its bridge.

    Raises:
        ReportError: it is no run folder, or its run has not ended.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text())
        config: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
        points = QualityRecord(folder / "quality.jsonl").read()
        bridge = _chosen_bridge(config)
    except FileNotFoundError as error:
        raise ReportError(
            f"{folder} has no {Path(error.filename).name}: it is not the folder of a run "
            "that has ended"
        ) from error
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        OmegaConfBaseException,
    ) as error:
        raise ReportError(
            f"{folder} cannot be read as a run ({type(error).__name__}: {error})"
        ) from error
    return Run(label or bridge, folder, config, summary, points, _fidelity(folder))


def _chosen_bridge(config: dict[str, Any]) -> str:
    """The bridge as it was typed, or else the file that its class is alone in."""
    chosen = last_value(map(str, config.get("run_overrides") or []), "bridge")
    file: str = config["bridge"]["_target_"].split(".")[-2]
    return chosen if isinstance(chosen, str) else file


def find_runs(folders: list[str]) -> list[Run]:
    """The runs in these folders, and in the folders of sweeps and comparisons.

    Raises:
        ReportError: a folder is missing, or holds no run that has ended.
    """
    found: dict[Path, Run] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            beside = sorted(folder.parent.glob("*/summary.json"))[:3]
            there = ", ".join(str(file.parent) for file in beside)
            way = f"there is {there}" if beside else "give run folders, or their parent"
            raise ReportError(f"there is no folder {folder}; {way}")
        summaries = sorted(folder.rglob("summary.json"))
        if not summaries:
            raise ReportError(
                f"{folder} holds no summary.json: it is not the folder of a run that "
                "has ended, nor of a sweep"
            )
        for path in summaries:
            found[path.parent.resolve()] = read_run(path.parent)
    return told_apart(list(found.values()))


def told_apart(runs: list[Run]) -> list[Run]:
    """Runs of one label but several configurations get what differs into the label.

    The first four keys that differ, and a number where their words are the same.
    """
    told = list(runs)
    for label in dict.fromkeys(run.label for run in runs):
        places = [place for place, run in enumerate(runs) if run.label == label]
        words = _words([runs[place].config for place in places])
        for place, of_run in zip(places, words, strict=True):
            told[place] = runs[place]._replace(label=" ".join([label, *of_run]))
    return told


def _words(configs: list[dict[str, Any]]) -> list[list[str]]:
    """For each configuration, what tells it from the others."""
    each = [settings(config) for config in configs]
    kinds = [mine for place, mine in enumerate(each) if mine not in each[:place]]
    keys = differing(kinds)[:_FEW_WORDS]
    words = [[f"{k}={kind[k]}" for k in keys if k in kind] for kind in kinds]
    told = []
    for place, mine in enumerate(words):
        before = words[:place].count(mine)
        told.append([*mine, f"({before + 1})"] if before else mine)
    return [told[kinds.index(mine)] for mine in each]


def differing(kinds: list[dict[str, Any]]) -> list[str]:
    """The keys that settings differ in, sorted."""
    keys = sorted({key for kind in kinds for key in kind})
    return [
        k for k in keys if any(o.get(k, ...) != kinds[0].get(k, ...) for o in kinds)
    ]


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """What can change a result, but for the seed, by dotted key."""
    flat = _flat(config)
    return {
        key: value
        for key, value in flat.items()
        if not _WITHOUT_EFFECT.fullmatch(key)
        and not (key in _FOLLOWS and value == flat.get(_FOLLOWS[key]))
        and not (key.startswith(_ALARM) and flat.get(f"{_ALARM}on_collapse") != "stop")
    }


def _flat(node: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {path: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flat(value, f"{path}.{key}" if path else str(key))
    return flat


def _fidelity(folder: Path) -> dict[str, float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not (folder / "tensorboard").is_dir():
        return {}
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    known = events.Tags()["scalars"]
    means: dict[str, float] = {}
    for what in ("pull", "parameters"):
        logged = {
            f"{what}_{figure}": {
                event.step: event.value
                for event in events.Scalars(f"gradient_flow/{what}_{figure}")
            }
            for figure in _FIDELITY
            if f"gradient_flow/{what}_{figure}" in known
        }
        measured = sorted({step for values in logged.values() for step in values})
        late = measured[len(measured) // 2 :]
        means |= {
            name: statistics.mean(values[step] for step in late)
            for name, values in logged.items()
            if values.keys() >= set(late)
        }
    return means
