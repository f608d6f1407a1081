"""`gan-gradflow train`: train a GAN through a gradient bridge.

Hydra in, `train(config)` in the middle, a summary out.
"""

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hydra
from omegaconf import DictConfig, OmegaConf

from gan_gradflow.cli import CONFIG_DIR, launching
from gan_gradflow.cli.errors import ConfigError, RunError, checking
from gan_gradflow.cli.resume import (
    ABOUT_RESUMING,
    Continuation,
    check_state,
    continuation,
    does_not_fit,
    instructs,
    save_config,
    stand_in_the_run_folder,
    tell,
)
from gan_gradflow.cli.trust import packages_of
from gan_gradflow.cli.validate import require_classes, validate
from gan_gradflow.overrides import last_value

if TYPE_CHECKING:
    import lightning as L

    from gan_gradflow.callbacks.graceful_stop import GracefulStop
    from gan_gradflow.modules.adversarial import AdversarialModule

log = logging.getLogger(__name__)

PARTS = (
    *("data", "generator", "discriminator", "objective", "penalty", "bridge"),
    *("channel", "queries", "augmentation", "metrics", "trainer"),
    *("optimizer.generator", "optimizer.discriminator"),
    *("schedule.generator", "schedule.discriminator"),
)
TOP_LEVEL: dict[str, Any] = {
    **dict.fromkeys(
        ("data", "generator", "discriminator", "objective", "penalty", "bridge"), object
    ),
    "channel": object,
    **dict.fromkeys(("queries", "augmentation"), object),
    **dict.fromkeys(("metrics", "callbacks", "logger", "trainer"), object),
    "optimizer": {"generator": object, "discriminator": object},
    "schedule": {"generator": object, "discriminator": object},
    "seed": int,
    "max_iterations": int,
    "n_critic": int,
    "average_decay": float,
    "entropy_weight": float,
    "clip_norm": {"generator": float | None, "discriminator": float | None},
    "critic": {
        "access": Literal["scores", "gradient"] | None,
        "budget": int | None,
        "chunk_size": int | Literal["auto"] | None,
    },
    "channels_last": bool,
    "compile": {"generator": bool, "discriminator": bool},
    "on_nonfinite": Literal["stop", "skip"],
    "run_name": str,
    "run_dir": str,
    "run_overrides": list[str],
    "resume": str | None,
    "allow_changes": bool,
    "trust": list[str],
}
RUN = {key: kind for key, kind in TOP_LEVEL.items() if key not in ABOUT_RESUMING}


def app() -> None:
    """Hydra's app, in the folder of the run that is to go on if there is one."""
    stand_in_the_run_folder(sys.argv)
    _app()


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="train")
def _app(cfg: DictConfig) -> float | None:
    """Check the configuration and train; the final figure, for sweepers that want one."""
    with checking("train", cfg.run_dir):
        config = validate(cfg, TOP_LEVEL)
        going_on = None
        folder = config["resume"]
        if folder is not None:
            _check_place(folder, config)
        if folder is None and launching.requeued(config["run_dir"]):
            folder, config["run_overrides"] = config["run_dir"], []
        if folder is not None:
            going_on = continuation(
                folder,
                [o for o in config["run_overrides"] if not instructs(o)],
                config["allow_changes"],
                [*config["trust"], *packages_of(config)],
            )
            config = validate(OmegaConf.create(going_on.config), RUN)
        summary = train(config, going_on)
    return summary["quality"].get(summary["primary"])


def _check_place(folder: str, config: dict[str, Any]) -> None:
    """Raise a ConfigError if a run is to go on and gets another name."""
    named = last_value(config["run_overrides"], "run_name") is not None
    name = config["run_name"]
    if named and name not in (Path(folder).resolve().name, launching.job_name()):
        raise ConfigError(
            f"run_name is {name}, and a run goes on in its own folder, {folder}; "
            "leave run_name out, or copy the folder and resume the copy"
        )


def train(
    config: dict[str, Any], going_on: Continuation | None = None
) -> dict[str, Any]:
    """Train as configured; the summary that is also written to `summary.json`.

    Args:
        config: the whole configuration, validated.
        going_on: where a run goes on that has begun; None begins one.

    Raises:
        ConfigError: something cannot be built; nothing was run.
        RunError: the run ended early; the message names the checkpoint.
    """
    import lightning as L

    from gan_gradflow.cli import build
    from gan_gradflow.cli.console import kept_log, print_summary, quiet_libraries
    from gan_gradflow.cli.summary import summarise
    from gan_gradflow.modules.compatibility import doubts_about_classes

    quiet_libraries()
    config = {key: node for key, node in config.items() if key in RUN}
    require_classes(config, PARTS)
    for key, start in (("max_iterations", 2000), ("n_critic", 1)):
        if config[key] < 1:
            raise ConfigError(
                f"{key} must be at least 1, got {config[key]}; try {start}"
            )
    _check_trainer(config)
    if config["trainer"].get("precision") in ("16", 16, "16-mixed", "16-true"):
        raise ConfigError(
            f"trainer.precision is {config['trainer']['precision']}, in which a pull "
            "underflows; use bf16-mixed or 32-true"
        )
    num_processes, rank = launching.check_processes(config), launching.rank()
    run_dir = Path(config["run_dir"])
    if going_on is None and (run_dir / "checkpoints").exists():
        raise ConfigError(
            f"run_dir {run_dir} holds a run already; choose another run_name, or go on "
            f"with resume={run_dir}"
        )
    L.seed_everything(config["seed"], verbose=False)
    datamodule = build.build(config, "data")
    module = build.build_module(config)
    build.load(datamodule)
    build.know_classes(module, datamodule)
    callbacks = build.build_callbacks(config, datamodule, module, going_on is None)
    first = 0 if going_on is None else going_on.iteration
    trainer = build.build_trainer(config, callbacks, first)
    check_state(going_on, module)
    if rank == 0:
        save_config(config, going_on, module)
    launching.repeat_command("train")
    launching.end_with_the_first()
    launching.explain_before_the_end()
    with kept_log(run_dir / "train.log", rank):
        log.info("training in %s", run_dir)
        if num_processes > 1:
            log.info(launching.description(config, num_processes))
        tell(going_on)
        doubts = doubts_about_classes(module.generator, module.discriminator)
        if doubts:
            log.warning(doubts)
        failure = _fit(trainer, module, datamodule, going_on)
    summary = summarise(config, trainer, module)
    summary = {"finished": failure is None, **summary}
    if rank == 0:
        _write(run_dir / "summary.json", json.dumps(summary, indent=2) + "\n")
        print_summary(summary)
    if failure is not None:
        raise failure
    return summary


_NOT_TAKEN: dict[str, tuple[Any, str]] = {  # what changes nothing, and the way out
    "gradient_clip_val": (
        None,
        "clip with clip_norm.generator and clip_norm.discriminator",
    ),
    "accumulate_grad_batches": (1, "raise data.batch_size"),
    "fast_dev_run": (False, "use max_iterations=2 metrics=none"),
    "max_epochs": (-1, "use max_iterations"),
    "limit_train_batches": (1.0, "use max_iterations"),
    "overfit_batches": (0.0, "use max_iterations"),
}


def _check_trainer(config: dict[str, Any]) -> None:
    """Refuse what Lightning offers and a run of two players would not follow."""
    trainer = config["trainer"]
    for key, (harmless, way) in _NOT_TAKEN.items():
        if trainer.get(key) not in (None, harmless):
            raise ConfigError(
                f"trainer.{key} is {trainer[key]}, which a game of two players does not "
                f"take; {way}"
            )
    if trainer.get("max_steps") != config["max_iterations"]:
        raise ConfigError(
            f"trainer.max_steps is {trainer.get('max_steps')}, and max_iterations "
            f"{config['max_iterations']}; leave trainer.max_steps out"
        )
    if str(trainer.get("precision")) in ("64", "64-true"):
        raise ConfigError(
            f"trainer.precision is {trainer['precision']}, and data are in float32; use "
            "32-true or bf16-mixed"
        )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        log.warning("%s could not be written (%s)", path, error.strerror)


def _fit(
    trainer: "L.Trainer",
    module: "AdversarialModule",
    datamodule: "L.LightningDataModule",
    going_on: Continuation | None,
) -> RunError | None:
    """Train; the error to leave with, or None when the run ended as it should."""
    from gan_gradflow.callbacks.graceful_stop import GracefulStop
    from gan_gradflow.channels.base import ChannelError
    from gan_gradflow.critic import CriticError
    from gan_gradflow.metrics.base import NonFiniteFakesError
    from gan_gradflow.modules.nonfinite import NonFiniteError

    stop = next((c for c in trainer.callbacks if isinstance(c, GracefulStop)), None)
    start = None if going_on is None else going_on.checkpoint
    if stop:
        stop.saved = start
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=start, weights_only=True)
    except (ChannelError, CriticError, NonFiniteError, NonFiniteFakesError) as error:
        return RunError(
            f"stopped in iteration {trainer.global_step + 1}: {error}; {_saved(stop)}"
        )
    except OSError as error:  # nothing that this program writes: see docs/failure.md
        return RunError(
            f"stopped in iteration {trainer.global_step + 1}: {error}; {_saved(stop)}"
        )
    except SystemExit as left:  # Lightning's way to say that Ctrl-C was not to wait
        if not isinstance(left.__context__, KeyboardInterrupt):
            raise
        done = f"interrupted in iteration {trainer.global_step + 1}"
        return RunError(f"{done}; {_saved(stop)}", code=130)
    except Exception as error:
        if start and not module.has_begun:  # it was read, and does not fit
            raise does_not_fit(start, error) from error
        if not launching.lost_another(error):
            raise
        return RunError(
            f"stopped in iteration {trainer.global_step + 1}: {launching.fate(trainer)}; "
            "resume=RUN_FOLDER goes on from the last checkpoint"
        )
    finally:
        launching.end_others(trainer)
        if stop:
            stop.give_back()
    if stop and stop.received and trainer.global_step < trainer.max_steps:
        done = f"{stop.received.name} after iteration {trainer.global_step}"
        return RunError(f"{done}; {_saved(stop)}", code=128 + stop.received)
    if stop and trainer.is_global_zero:
        in_place = (stop.checkpoint, start)
        if stop.saved is None or stop.saved not in in_place:
            folder = stop.checkpoint.parents[1]
            return RunError(f"{folder} could not be written at the end; {_saved(stop)}")
    return None


def _saved(stop: "GracefulStop | None") -> str:
    if stop is None or stop.saved is None:
        return "its last state is not saved"
    go_on = f"gan-gradflow train resume={stop.saved.parents[1]}"
    return f"the state is saved in {stop.saved}; {go_on} goes on from there"
