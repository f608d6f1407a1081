"""`gan-gradflow compare`: the same GAN through several bridges, in one report.

Every run is a `gan-gradflow train` in a process of its own. Those that are done are never
run again, those that were interrupted go on, so the same command again finishes what an
earlier one began.
"""

import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gan_gradflow.cli import CONFIG_DIR
from gan_gradflow.cli.comparison_plan import (
    Planned,
    command_for,
    commands_for_launcher,
    is_done,
    plan,
)
from gan_gradflow.cli.errors import ConfigError, RunError, checking
from gan_gradflow.cli.jobs import Job, JobRunner, last_line
from gan_gradflow.cli.train import TOP_LEVEL as OF_TRAIN
from gan_gradflow.cli.validate import validate

if TYPE_CHECKING:
    from gan_gradflow.reports.runs import Run

log = logging.getLogger(__name__)

TOP_LEVEL: dict[str, Any] = {
    **OF_TRAIN,
    "bridges": list[str],
    "variants": object,
    "seeds": list[int],
    "budgets": list[int | None],
    "jobs": int,
    "runs": list[str],
}


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="compare")
def app(cfg: DictConfig) -> None:
    """Check the configuration, train what is not done yet, and report."""
    with checking("compare", cfg.run_dir):
        config = validate(cfg, TOP_LEVEL)
        if config["runs"]:
            report_on(config["runs"], Path(config["run_dir"]))
        else:
            compare(config)


def report_on(folders: list[str], run_dir: Path) -> dict[str, Path]:
    """Report on runs that exist; the files that were written.

    Raises:
        ConfigError: a folder holds no finished run, or the runs do not compare.
    """
    from gan_gradflow.cli.console import quiet_libraries
    from gan_gradflow.reports.runs import ReportError, find_runs

    quiet_libraries()
    try:
        return _report(find_runs(folders), run_dir, {})
    except ReportError as error:
        raise ConfigError(f"runs: {error}") from error


def compare(config: dict[str, Any]) -> None:
    """Train what is not done yet and report; inside a Hydra app only.

    Raises:
        ConfigError: a run cannot be configured so, or the runs would not compare.
        RunError: a signal came, or a run failed; the report holds those that finished.
    """
    from gan_gradflow.cli.console import kept_log, quiet_libraries
    from gan_gradflow.reports.runs import read_run

    quiet_libraries()
    if config["jobs"] < 1:
        raise ConfigError(f"jobs must be at least 1, got {config['jobs']}; try 2")
    planned = plan(config, list(HydraConfig.get().overrides.task))
    _require_comparable(planned)
    waiting = [run for run in planned if not is_done(run)]
    run_dir = Path(config["run_dir"])
    run_dir.mkdir(parents=True, exist_ok=True)
    with kept_log(run_dir / "compare.log", rank=0):
        done = len(planned) - len(waiting)
        log.info("%d runs in %s, of which %d are done", len(planned), run_dir, done)
        runner, failures = _train(waiting, config["jobs"])
    finished = [run for run in planned if is_done(run)]
    if finished:
        _report([read_run(r.folder, r.label) for r in finished], run_dir, failures)
    left = f"{len(finished)} of {len(planned)} runs are done"
    if runner.received:
        name = runner.received.name
        message = f"{name}: {left}; the same command goes on"
        raise RunError(message, code=128 + runner.received)
    if failures:
        raise RunError(f"{left}; {'; '.join(f'{k}: {v}' for k, v in failures.items())}")


def _train(waiting: list[Planned], at_once: int) -> tuple[JobRunner, dict[str, str]]:
    runner = JobRunner(at_once)
    failures: dict[str, str] = {}

    def ended(job: Job, code: int) -> None:
        if code == 0:
            log.info("finished %s", job.name)
        elif runner.received:
            log.info("stopped %s", job.name)
        else:
            failures[job.name] = f"{last_line(job.output)} (its output: {job.output})"
            log.warning("failed %s: %s", job.name, failures[job.name])

    runner.run(_jobs(waiting), ended)
    return runner, failures


def _jobs(waiting: list[Planned]) -> list[Job]:
    hydra_config = HydraConfig.get()
    dirs = [
        option
        for source in hydra_config.runtime.config_sources
        if source.provider == "command-line"
        for option in ("--config-dir", source.path)
    ]
    if hydra_config.runtime.choices["hydra/launcher"] == "basic":
        return [
            Job(run.name, command_for(run, dirs), run.folder.with_suffix(".log"))
            for run in waiting
        ]
    launcher = [
        override
        for override in hydra_config.overrides.hydra
        if override.lstrip("+").startswith(("hydra/launcher", "hydra.launcher"))
    ]
    commands = commands_for_launcher(waiting, dirs, launcher)
    output = {run.label: run.folder.with_name("launcher.log") for run in waiting}
    return [
        Job(name, command, output[name.removesuffix(", going on")])
        for name, command in commands.items()
    ]


def _require_comparable(planned: list[Planned]) -> None:
    from gan_gradflow.reports.comparison import require_comparable
    from gan_gradflow.reports.runs import ReportError

    for run in planned[1:]:
        try:
            require_comparable(
                planned[0].label, planned[0].config, run.label, run.config
            )
        except ReportError as error:
            raise ConfigError(str(error)) from error


def _report(
    runs: "list[Run]", run_dir: Path, failures: dict[str, str]
) -> dict[str, Path]:
    from gan_gradflow.cli.console import print_table
    from gan_gradflow.reports.comparison import Comparison
    from gan_gradflow.reports.comparison_page import final_table, write_report

    comparison = Comparison(runs)
    command = shlex.join(["gan-gradflow", "compare", *sys.argv[1:]])
    written = write_report(run_dir, comparison, command, failures)
    print_table("comparison", *final_table(comparison))
    for name, path in written.items():
        print(f"{name.replace('_', ' ')}: {path}")
    return written
