"""Going on with a run: `gan-gradflow train resume=RUN_FOLDER`.

The configuration is the one in the run's checkpoint. What the command line adds to it is
found by composing the run's own command line twice, without the addition and with it, so
that whatever follows from a changed value changes with it.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gan_gradflow.cli.errors import ConfigError
from gan_gradflow.overrides import key_of, last_value, quoted

if TYPE_CHECKING:
    from gan_gradflow.modules.adversarial import AdversarialModule

log = logging.getLogger(__name__)

ABOUT_RESUMING = ("resume", "allow_changes", "trust")
"""Keys that are instructions to this command and no part of a run's configuration."""

_FREE = (
    "max_iterations",
    "trainer.max_steps",
    "data.num_iterations",
    "critic.budget",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
)
"""How long a run goes on and on what machines: may change without being asked about."""


class Continuation(NamedTuple):
    """Where and how a run goes on.

    Attributes:
        config: the configuration from now on.
        checkpoint: the file to go on from.
        iteration: the iterations that are done.
        changes: what is different from now on, in words.
        damaged: what was found damaged and gone round, in words.
    """

    config: dict[str, Any]
    checkpoint: Path
    iteration: int
    changes: list[str]
    damaged: list[str]


def stand_in_the_run_folder(argv: list[str]) -> None:
    """Make the run that is to go on Hydra's folder too, so that none is made beside it.

    Raises:
        ConfigError: there is no such folder.
    """
    elsewhere = {"-m", "--multirun", "--cfg", "-c", "--help", "-h", "--info"}
    folder = last_value(argv, "resume")
    if isinstance(folder, str) and not elsewhere & set(argv):
        if not Path(folder).is_dir():
            raise _no_run_folder(Path(folder))
        argv.append(f"hydra.run.dir={quoted(folder)}")


def instructs(override: str) -> bool:
    """Whether an override tells this command something, and the run nothing."""
    return key_of(override) in (*ABOUT_RESUMING, "run_name", "run_dir")


def continuation(
    folder: str | Path,
    overrides: Sequence[str] = (),
    allow_changes: bool = False,
    trust: Sequence[str] = (),
) -> Continuation:
    """How the run in a folder goes on; nothing is written.

    Args:
        folder: a run folder, which may have been moved or copied.
        overrides: changes, as on the command line; inside a Hydra app only.
        allow_changes: accept changes of what is computed.
        trust: packages beside this project's, torch's and Lightning's whose classes the
            run's configuration may name.

    Raises:
        ConfigError: the folder holds no run that can go on, its configuration names a
            class that is not trusted, or changes it was not to change.
    """
    from gan_gradflow.cli.trust import refuse_untrusted
    from gan_gradflow.modules.checkpoint import ABOUT_THE_COMMAND, moved

    folder = Path(folder).absolute()
    checkpoint, contents, damaged = _newest_readable(folder)
    then = contents["hyper_parameters"]["config"]
    then = moved(then, then["run_dir"], str(folder))
    refuse_untrusted("resume", then, list(trust), also=("lightning.",))
    now = _edited(then, folder / "config.yaml", damaged)
    if overrides:
        now = _with_overrides(now, overrides)
    refuse_untrusted("resume", now, list(trust), also=("lightning.",))
    changed = [
        (key, text)
        for key, text in _differences("", then, now)
        if key not in ABOUT_THE_COMMAND
    ]
    refused = [text for key, text in changed if not key.startswith(_FREE)]
    if refused and not allow_changes:
        raise ConfigError(
            f"resume: this is not the configuration of the run in {folder}: "
            f"{'; '.join(refused[:6])}; leave that out, or add allow_changes=true"
        )
    iteration = contents["global_step"]
    wanted = now.get("max_iterations")  # what is missing, the validation names
    if isinstance(wanted, int) and wanted < iteration:
        raise ConfigError(
            f"max_iterations is {wanted}, and the run in {folder} has "
            f"done {iteration}; give a larger number"
        )
    return Continuation(
        now, checkpoint, iteration, [text for _, text in changed], damaged
    )


def check_state(going_on: Continuation | None, module: "AdversarialModule") -> None:
    """See that the state of a run fits its changed configuration; nothing is written.

    Raises:
        ConfigError: it does not.
    """
    if going_on is None or not going_on.changes:
        return
    import copy

    from gan_gradflow.modules.checkpoint import read_checkpoint

    state = read_checkpoint(going_on.checkpoint)["state_dict"]
    try:
        copy.deepcopy(module).load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        raise does_not_fit(going_on.checkpoint, error) from error


def does_not_fit(checkpoint: Path, error: BaseException) -> ConfigError:
    """What to say of a state that was read, and is another configuration's."""
    reason = " ".join(str(error).split())[:300]
    return ConfigError(
        f"resume: the state in {checkpoint} does not fit its configuration ({reason})"
    )


def save_config(
    config: dict[str, Any], going_on: Continuation | None, module: "AdversarialModule"
) -> None:
    """Write the configuration into the run folder; a changed one into the checkpoint too.

    So a run that is killed before its next checkpoint keeps the change.
    """
    from omegaconf import OmegaConf

    from gan_gradflow.modules.checkpoint_io import write_durably

    text = OmegaConf.to_yaml(OmegaConf.create(config))
    write_durably(text.encode(), Path(config["run_dir"]) / "config.yaml")
    if going_on is not None and going_on.changes:
        _save_changed(config, going_on, module)


def _save_changed(
    config: dict[str, Any], going_on: Continuation, module: "AdversarialModule"
) -> None:
    import io

    import torch

    from gan_gradflow.modules.checkpoint import LAST, moved, read_checkpoint, sealed
    from gan_gradflow.modules.checkpoint_io import write_durably

    contents = read_checkpoint(going_on.checkpoint)
    then = contents["hyper_parameters"]["config"]
    contents["hyper_parameters"]["config"] = config
    contents["callbacks"] = moved(
        contents["callbacks"], then["run_dir"], config["run_dir"]
    )
    if any(c.startswith(("optimizer.", "schedule.")) for c in going_on.changes):
        kept = [
            then["optimizer"][player]["_target_"] == node["_target_"]
            for player, node in config["optimizer"].items()
        ]
        _set_rates(contents, module, kept)
    buffer = io.BytesIO()
    torch.save(sealed(contents), buffer)
    write_durably(buffer.getbuffer(), going_on.checkpoint.with_name(LAST))


def _set_rates(
    contents: dict[str, Any], module: "AdversarialModule", kept: list[bool]
) -> None:
    """What optimizers and schedules would be told at this iteration, had they begun so.

    Their state in a checkpoint has the old numbers in it, which would win.
    """
    for index, (optimizer, schedule) in enumerate(
        zip(*module.configure_optimizers(), strict=True)
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a schedule expects steps in between
            for _ in range(contents["global_step"]):
                schedule.step()
        state = contents["optimizer_states"][index]
        if not kept[index]:
            state["state"] = {}
        state["param_groups"] = optimizer.state_dict()["param_groups"]
        contents["lr_schedulers"][index] = schedule.state_dict()


def tell(going_on: Continuation | None) -> None:
    """Log where a run goes on, and what about that is not as it was."""
    if going_on is None:
        return
    for damage in going_on.damaged:
        log.warning("%s", damage)
    log.info("going on after iteration %d", going_on.iteration)
    for change in going_on.changes:
        log.info("changed from here on: %s", change)


def _newest_readable(folder: Path) -> tuple[Path, dict[str, Any], list[str]]:
    from gan_gradflow.modules.checkpoint import (
        BEST,
        LAST,
        PREVIOUS,
        CheckpointError,
        read_checkpoint,
    )

    if not folder.is_dir():
        raise _no_run_folder(folder)
    found = [folder / "checkpoints" / name for name in (LAST, PREVIOUS, BEST)]
    found = [path for path in found if path.exists()]
    if not found:
        way = f"; try resume={folder.parent}" if folder.name == "checkpoints" else ""
        raise ConfigError(
            f"resume: there is no checkpoint in {folder}/checkpoints{way}"
        )
    found_damaged: list[str] = []
    for path in found:
        try:
            return path, read_checkpoint(path), found_damaged
        except CheckpointError as error:
            found_damaged.append(str(error))
    raise ConfigError(f"resume: no checkpoint can be read: {'; '.join(found_damaged)}")


def _no_run_folder(path: Path) -> ConfigError:
    from gan_gradflow.modules.checkpoint import runs_beside

    if path.is_file() and path.parent.name == "checkpoints":
        return ConfigError(
            f"resume: {path} is a file; give the folder of its run, "
            f"resume={path.parents[1]}"
        )
    beside = [f"resume={run}" for run in runs_beside(path)]
    way = f"try {', '.join(beside)}" if beside else "give the run_dir of a run"
    return ConfigError(f"resume: there is no run folder {path}; {way}")


def _edited(then: dict[str, Any], file: Path, damaged: list[str]) -> dict[str, Any]:
    """The configuration as it stands in the run folder, where somebody may change it."""
    from omegaconf import OmegaConf

    from gan_gradflow.modules.checkpoint import ABOUT_THE_COMMAND, moved

    try:
        found: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
        found = moved(found, found["run_dir"], then["run_dir"])
        return found | {key: then[key] for key in ABOUT_THE_COMMAND}
    except Exception as error:  # a damaged file can fail in any way
        reason = " ".join(str(error).split())[:200]
        damaged.append(f"{file} cannot be read ({reason}): the checkpoint's is used")
        return then


def _with_overrides(then: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The run's configuration with what the overrides change in it, and with them."""
    started_with = then["run_overrides"]
    place = {"run_name": then["run_name"], "run_dir": then["run_dir"]}
    replaced = [key_of(override) for override in overrides]
    kept = [o for o in started_with if not _below(key_of(o), replaced)]
    typed = [*kept, *overrides]
    before = _composed(started_with, place)
    if before is None:  # started by another command, or with files that are gone
        before, kept = _composed([], place), []
    with _explained():
        after = _composed([*kept, *overrides], place, strict=True)
    return {**_merged(then, before, after), "run_overrides": typed}


def _composed(
    overrides: Sequence[str], place: dict[str, Any], strict: bool = False
) -> Any:
    from hydra import compose
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        cfg = compose("train", list(overrides))
        cfg.run_name, cfg.run_dir = place["run_name"], place["run_dir"]
        return OmegaConf.to_container(cfg, resolve=True)
    except (HydraException, OmegaConfBaseException):
        if strict:
            raise
        return None


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from gan_gradflow.cli.messages import plainly

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"resume: {plainly(error)}") from error


def _below(key: str, replaced: list[str]) -> bool:
    return any(key == r or key.startswith((f"{r}.", f"{r}/")) for r in replaced)


def _merged(then: Any, before: Any, after: Any) -> Any:
    """`then`, with everything that is different in `after` from what it was in `before`."""
    if before == after:
        return then
    if not all(isinstance(node, dict) for node in (then, before, after)):
        return after
    merged = dict(then)
    for key in [*before, *(k for k in after if k not in before)]:
        if key in ABOUT_RESUMING or key.startswith("run_"):
            continue
        if key not in after:
            merged.pop(key, None)
        elif key not in before or key not in then:
            merged[key] = after[key]
        else:
            merged[key] = _merged(then[key], before[key], after[key])
    return merged


def _differences(path: str, then: Any, now: Any) -> Iterator[tuple[str, str]]:
    """Every key whose value differs, and that in words."""
    if not isinstance(then, dict) or not isinstance(now, dict):
        if then != now:
            yield path, f"{path} was {then!r} and is {now!r}"
        return
    for key in [*then, *(k for k in now if k not in then)]:
        place = f"{path}.{key}" if path else str(key)
        if key not in now:
            yield place, f"{place} was {then[key]!r} and is gone"
        elif key not in then:
            yield place, f"{place} is new, {now[key]!r}"
        else:
            yield from _differences(place, then[key], now[key])
