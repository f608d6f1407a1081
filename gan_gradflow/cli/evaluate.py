"""`gan-gradflow evaluate checkpoint=...`: how good a generator is, in every figure.

The checkpoint says what it was trained on and how it was measured; the same fakes give
the same figures again, and an extractor of features gives more.
"""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hydra
from omegaconf import DictConfig, OmegaConf

from gan_gradflow.cli import CONFIG_DIR
from gan_gradflow.cli.errors import ConfigError, checking
from gan_gradflow.cli.validate import validate

if TYPE_CHECKING:
    import lightning as L
    from torch import Tensor

    from gan_gradflow.metrics.evaluation import Evaluation, FeatureEvaluation

log = logging.getLogger(__name__)

TOP_LEVEL: dict[str, Any] = {
    "checkpoint": str,
    "weights": Literal["averaged", "raw"],
    "num_samples": int | None,
    "seed": int,
    "data": object,
    "metrics": object,
    "features": object,
    "other_data": bool,
    "max_train": int,
    "neighbours": int,
    "num_resamples": int,
    "num_subsets": int,
    "subset_size": int,
    "min_class_share": float,
    "cache": str | None,
    "trust": list[str],
    "run_name": str,
    "run_dir": str,
    "max_iterations": int,
    "n_critic": int,
}


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="evaluate")
def app(cfg: DictConfig) -> None:
    """Check the configuration and evaluate."""
    with checking("evaluate", cfg.run_dir):
        evaluate(validate(completed(cfg), TOP_LEVEL))


def completed(cfg: DictConfig) -> DictConfig:
    """The configuration with what it leaves open, as the checkpoint has it.

    Raises:
        ConfigError: the checkpoint cannot be read, names a class that is not trusted, or
            was trained on other data than those asked for.
    """
    from gan_gradflow.cli.trust import refuse_untrusted
    from gan_gradflow.datamodules.identity import (
        data_identity,
        difference,
        draw_identity,
    )

    if OmegaConf.is_missing(cfg, "checkpoint"):
        raise ConfigError("checkpoint is missing; add checkpoint=VALUE")
    if not isinstance(cfg.checkpoint, str):
        raise ConfigError(f"checkpoint is {cfg.checkpoint!r}; give a .ckpt file")
    trained = _config_of(cfg.checkpoint)
    for key in ("data", "metrics"):
        refuse_untrusted("checkpoint", trained[key], list(cfg.trust))
    OmegaConf.set_struct(cfg, False)
    seed = trained["seed"] if cfg.seed is None else cfg.seed
    cfg.update(seed=trained["seed"])  # which a mixture is drawn from
    for key in ("max_iterations", "n_critic"):
        cfg[key] = trained[key]
    for key in ("data", "metrics"):
        asked: Any = OmegaConf.to_container(cfg.get(key, _NOTHING), resolve=True)
        cfg[key] = asked if "_target_" in asked else {**trained[key], **asked}
    data: Any = OmegaConf.to_container(cfg.data)
    if data["event_shape"] != trained["data"]["event_shape"]:
        raise ConfigError(
            f"the generator of {cfg.checkpoint} makes samples of "
            f"{trained['data']['event_shape']}, and the data are {data['event_shape']}; "
            "choose the data that it was trained on"
        )
    # With another seed, what the generator learned from might be held out.
    differ = difference(
        *(data_identity(d) | draw_identity(d) for d in (trained["data"], data))
    )
    if differ and not cfg.other_data:
        raise ConfigError(
            f"{cfg.checkpoint} was trained on other data than those asked for: {differ}; "
            "leave data out, or add other_data=true if that is meant"
        )
    cfg.seed = seed
    cfg.features = cfg.get("features") or _usual_features(data)
    return cfg


def evaluate(config: dict[str, Any]) -> dict[str, Any]:
    """Evaluate as configured; the results that are also written to `evaluation.json`.

    Raises:
        ConfigError: something cannot be had or does not fit; nothing was written.
    """
    from gan_gradflow.cli import build
    from gan_gradflow.cli.console import kept_log, print_evaluation, quiet_libraries
    from gan_gradflow.cli.sample import load_generator

    quiet_libraries()
    generator = load_generator(config["checkpoint"], config["trust"])
    # Nothing is trained, so a batch cannot be too large for the data.
    fed = {**config["data"], "batch_size": 1}
    datamodule = build.build_datamodule({**config, "data": fed})
    with kept_log(None, rank=0):  # a file would be left by what is refused
        log.info("looking at the reals")
        metric = _build_metric(config, datamodule)
        features = _build_features(config, datamodule)
        if features and features.doubts and not metric.primary:  # or the metric tells
            log.warning(features.doubts)
        count = config["num_samples"] or metric.num_samples or 10000
        log.info("looking at %s fakes of %s", f"{count:,}", config["checkpoint"])
        try:
            fakes = _draw(generator, count, config)
            quality = metric(fakes) if metric.primary else {}
            found = features(fakes) if features else None
        except ValueError as error:
            raise ConfigError(str(error)) from error
    results = {
        "checkpoint": config["checkpoint"],
        "weights": config["weights"],
        "num_samples": count,
        "seed": config["seed"],
        "data": config["data"],
        "quality": quality,
        "quality_floor": metric.floor() if metric.primary else {},
        **_in_words(features, found),
    }
    results["paths"] = _write(config, results, fakes, datamodule, found)
    print_evaluation(results)
    return results


def _config_of(checkpoint: str) -> dict[str, Any]:
    from gan_gradflow.modules.checkpoint import CheckpointError, read_checkpoint

    try:
        config: dict[str, Any] = read_checkpoint(checkpoint)["hyper_parameters"][
            "config"
        ]
        return {k: config[k] for k in ("data", "metrics", "seed", *_TRAINING)}
    except CheckpointError as error:
        raise ConfigError(f"checkpoint: {error}") from error
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"checkpoint: {checkpoint} does not say what it was trained on ({error})"
        ) from error


_NOTHING = OmegaConf.create({})
_TRAINING = ("max_iterations", "n_critic")  # which a group of data asks for


def _usual_features(data: dict[str, Any]) -> dict[str, Any]:
    """The features of digits and of vectors; none of anything else, such as tokens."""
    event_shape = tuple(data["event_shape"])
    if "vocabulary" in data or (event_shape != (1, 28, 28) and len(event_shape) != 1):
        return {}
    group = "samples" if len(event_shape) == 1 else "mnist_classifier"
    found: Any = OmegaConf.to_container(
        OmegaConf.load(CONFIG_DIR / "features" / f"{group}.yaml")
    )
    return found


def _build_metric(config: dict[str, Any], datamodule: "L.LightningDataModule") -> Any:
    from gan_gradflow.cli import build

    if config["num_samples"] is not None and "num_samples" in config["metrics"]:
        config["metrics"]["num_samples"] = config["num_samples"]
    metric = build.build(config, "metrics")
    try:
        metric.prepare(datamodule)
    except ValueError as error:
        raise ConfigError(f"metrics: {error}") from error
    if not metric.primary and not config["features"]:
        raise ConfigError(
            f"metrics=none measures nothing, and no features are known for samples of "
            f"{config['data']['event_shape']}; choose features=inception, or your own "
            "network with +features._target_=PACKAGE.CLASS"
        )
    return metric


def _build_features(
    config: dict[str, Any], datamodule: "L.LightningDataModule"
) -> "FeatureEvaluation | None":
    from gan_gradflow.cli import build
    from gan_gradflow.metrics.evaluation import FeatureEvaluation
    from gan_gradflow.metrics.extractor import Extractor
    from gan_gradflow.metrics.feature_cache import FeatureCache

    if not config["features"]:
        return None
    try:
        return FeatureEvaluation(
            Extractor(build.build(config, "features"), datamodule.event_shape),
            datamodule,
            FeatureCache(config["cache"]),
            max_train=config["max_train"],
            neighbours=config["neighbours"],
            num_resamples=config["num_resamples"],
            num_subsets=config["num_subsets"],
            subset_size=config["subset_size"],
            min_class_share=config["min_class_share"],
        )
    except ConfigError:
        raise
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"features: {error}") from error


def _draw(generator: Any, count: int, config: dict[str, Any]) -> "Tensor":
    """The fakes that training would measure with the same seed and weights."""
    import torch

    from gan_gradflow.cli.sample import draw

    if count < 1:
        raise ValueError(f"num_samples must be at least 1, got {count}; try 10000")
    latents = torch.randn(
        count,
        generator.latent_dim,
        generator=torch.Generator().manual_seed(config["seed"]),
    )
    return draw(generator, latents, None, config)


def _in_words(features: Any, found: "Evaluation | None") -> dict[str, Any]:
    if found is None:
        return {"features": None, "figures": {}, "floor": {}, "error": {}}
    extractor = features.extractor
    return {
        "features": {
            "name": extractor.name,
            "dimensions": extractor.num_features,
            "preprocessing": extractor.preprocessing,
            "fingerprint": extractor.fingerprint(),
        },
        "figures": found.figures,
        "floor": found.floor,
        "error": found.error,
    }


def _write(
    config: dict[str, Any],
    results: dict[str, Any],
    fakes: "Tensor",
    datamodule: "L.LightningDataModule",
    found: "Evaluation | None",
) -> dict[str, str]:
    from gan_gradflow.reports.evaluation_pictures import (
        draw_distributions,
        draw_nearest,
    )
    from gan_gradflow.reports.tensorboard import show_in_tensorboard

    folder = Path(config["run_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"evaluation": folder / "evaluation.json"}
    paths["evaluation"].write_text(json.dumps(results, indent=2) + "\n")
    if found is not None:
        paths["nearest"] = draw_nearest(
            folder / "nearest.png", fakes, datamodule, found
        )
        paths["distributions"] = draw_distributions(folder / "distributions.png", found)
    show_in_tensorboard(folder / "tensorboard", results, paths)
    return {name: str(path) for name, path in paths.items()}
