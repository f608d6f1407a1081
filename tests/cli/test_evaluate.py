"""`gan-gradflow evaluate`: the figures of training, and more; none from bad input."""

import json
import shutil

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from gan_gradflow.modules.checkpoint import sealed

QUICK = ("num_resamples=2", "num_subsets=1", "max_train=300")


@pytest.fixture
def checkpoint(train, tmp_path, tmp_path_factory):
    """Of one short run, whose folder no test may change."""
    kept = tmp_path_factory.getbasetemp() / "evaluated"
    if not kept.exists():
        assert train("data.num_held_out=300").code == 0
        shutil.copytree(tmp_path / "outputs" / "short", kept)
    return kept / "checkpoints" / "last.ckpt"


@pytest.fixture
def evaluate(cli, checkpoint):
    def run(*arguments: str):
        return cli(
            "evaluate", f"checkpoint={checkpoint}", "run_name=ev", *QUICK, *arguments
        )

    return run


def results_in(tmp_path, name="ev"):
    return json.loads((tmp_path / "outputs" / name / "evaluation.json").read_text())


def test_the_figures_are_those_of_training(evaluate, checkpoint, tmp_path) -> None:
    result = evaluate()
    assert result.code == 0, result.err
    summary = json.loads((checkpoint.parents[1] / "summary.json").read_text())
    found = results_in(tmp_path)
    assert found["quality"] == summary["quality"]
    assert found["quality_floor"] == summary["floor"]
    assert found["figures"].keys() == found["floor"].keys()
    assert found["error"].keys() == {"frechet_distance", "kernel_distance"}
    assert "reals against reals" in result.out
    assert "nearer than reals" in result.out
    assert "  looking at the reals\n" in result.out
    assert f"  looking at 200 fakes of {checkpoint}\n" in result.out


def test_classes_of_digits_are_doubted_for_other_images(cli, tmp_path) -> None:
    for name, level in enumerate(torch.linspace(0, 255, 160)):
        (tmp_path / "images").mkdir(exist_ok=True)
        grey = Image.new("L", (28, 28), int(level))
        grey.save(tmp_path / "images" / f"{name}.png")
    data = ("data=image_folder", "data.root=images", "data.event_shape=[1,28,28]")
    small = ("max_iterations=1", "generator.width=4", "discriminator.width=4")
    trained = cli(
        "train", *data, *small, "data.held_out_share=0.5", "data.batch_size=4",
        "metrics=none", "run_name=greys", "trainer.log_every_n_steps=1",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    checkpoint = "checkpoint=outputs/greys/checkpoints/last.ckpt"
    result = cli("evaluate", checkpoint, "num_samples=80", "subset_size=50", *QUICK)
    assert result.code == 0, result.err
    assert result.out.count("the data do not look like digits") == 1


def test_table_pictures_and_tensorboard_are_in_the_run_folder(
    evaluate, tmp_path
) -> None:
    evaluate()
    folder = tmp_path / "outputs" / "ev"
    for name in ("nearest.png", "distributions.png"):
        with Image.open(folder / name) as picture:
            assert picture.width > 100
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = set(events.Tags()["scalars"])
    assert {"evaluation_quality/modes", "evaluation_floor/coverage"} <= tags
    assert set(events.Tags()["images"]) == {
        "evaluation/nearest",
        "evaluation/distributions",
    }


def test_features_of_reals_are_kept_and_used_again(evaluate, tmp_path) -> None:
    evaluate()
    first = results_in(tmp_path)
    files = {f: f.stat().st_mtime_ns for f in (tmp_path / "outputs/cache").iterdir()}
    assert len(files) == 2
    evaluate()
    again = {f: f.stat().st_mtime_ns for f in (tmp_path / "outputs/cache").iterdir()}
    assert (again, results_in(tmp_path)) == (files, first)


def test_raw_weights_other_latents_and_other_counts_give_other_figures(
    evaluate, tmp_path
) -> None:
    distances = set()
    for more in ("seed=1", "seed=2", "weights=raw", "num_samples=150"):
        assert evaluate(more).code == 0
        distances.add(results_in(tmp_path)["figures"]["frechet_distance"])
    assert len(distances) == 4


class Net(nn.Module):
    """A network of a user's."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(2, features)

    def forward(self, samples):
        return self.layer(samples)


def test_the_features_may_be_of_any_network(evaluate, tmp_path) -> None:
    node = "{_target_: test_evaluate.Net, features: 3}"
    assert evaluate(f"+features={node}").code == 0
    found = results_in(tmp_path)["features"]
    assert (found["name"], found["dimensions"]) == ("Net", 3)


@pytest.mark.parametrize(
    ("overrides", "told"),
    {
        "other data": (
            ["data=grid"],
            ["other data", "sigma 0.01 and 0.05", "other_data"],
        ),
        "other draw": (["+data.seed=7"], ["other data", "seed 1 and 7", "other_data"]),
        "other sigma": (["+data.sigma=0.5"], ["sigma 0.01 and 0.5"]),
        "other shape": (["data=mnist", "other_data=true"], ["[2]", "[1, 28, 28]"]),
        "measure": (["metrics=mnist"], ["metrics", "[1, 28, 28]"]),
        "wrong features": (
            ["+features._target_=torch.nn.Identity", "+data.num_held_out=2"],
            ["features", "2 reals", "hold out more"],
        ),
        "misfit": (
            ["features=mnist_classifier"],
            ["features", "MNISTClassifier cannot look at samples of [2]"],
        ),
        "scalar": (
            ["+features={_target_: torch.nn.Flatten, start_dim: 0}"],
            ["features", "[4] for 2 samples", "[2, features]"],
        ),
        "no inception": (
            ["features=inception", "+features.weights=nowhere.pth"],
            ["features"],
        ),
        "few fakes": (["num_samples=2"], ["2 fakes", "2 features", "num_samples"]),
        "no fakes": (["num_samples=-1"], ["num_samples", "-1"]),
        "fewer fakes than neighbours": (
            ["num_samples=3"],
            ["num_samples above 5, or use neighbours=2"],
        ),
        "more fakes than reals": (["num_samples=400"], ["400", "300"]),
        "neighbours": (["neighbours=0"], ["neighbours", "0", "try 5"]),
        "unknown key": (["neighbors=3"], ["neighbors", "neighbours"]),
        "weights": (["weights=best"], ["weights", "best", "averaged"]),
    }.values(),
)
def test_bad_input_is_one_clear_message(evaluate, tmp_path, overrides, told) -> None:
    result = evaluate(*overrides)
    assert result.code == 2
    for part in told:
        assert part in result.err
    assert "Traceback" not in result.err
    assert len(result.err.strip().splitlines()) <= 6
    assert not (tmp_path / "outputs/ev").exists()


def test_a_missing_checkpoint_is_named(cli) -> None:
    assert "add checkpoint=VALUE" in cli("evaluate").err
    result = cli("evaluate", "checkpoint=nowhere.ckpt")
    assert (result.code, "no checkpoint nowhere.ckpt" in result.err) == (2, True)


def test_a_checkpoint_cannot_name_data_to_run(cli, checkpoint) -> None:
    contents = torch.load(checkpoint, weights_only=True)
    config = contents["hyper_parameters"]["config"]
    config["data"] = {"_target_": "os.system", "command": "touch planted"}
    torch.save(sealed(contents), "bad.ckpt")
    result = cli("evaluate", "checkpoint=bad.ckpt")
    assert (result.code, "trust=[os]" in result.err) == (2, True)


@pytest.fixture
def images(cli, tmp_path, tmp_path_factory):
    """A folder of four images, and a checkpoint that was trained on it."""
    folder, kept = (
        tmp_path / "images",
        tmp_path_factory.getbasetemp() / "of_images.ckpt",
    )
    folder.mkdir()
    for index in range(4):
        Image.new("RGB", (32, 32), (60 * index, 0, 0)).save(folder / f"{index}.png")
    if not kept.exists():
        data = (
            "data=image_folder",
            f"data.root={folder}",
            "data.event_shape=[3,32,32]",
        )
        short = ("max_iterations=1", "data.batch_size=2", "trainer.log_every_n_steps=1")
        small = ("generator.width=8", "discriminator.width=8", "metrics=none")
        calm = "callbacks.collapse_alarm=null"
        assert cli("train", *data, *short, *small, calm, "run_name=im").code == 0
        shutil.copy(tmp_path / "outputs/im/checkpoints/last.ckpt", kept)
    return folder, kept


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_images_in_a_folder_are_told(cli, images, count) -> None:
    folder, checkpoint = images
    for file in sorted(folder.iterdir())[count:]:
        file.unlink()
    where = (f"checkpoint={checkpoint}", f"+data.root={folder}", "features=samples")
    result = cli("evaluate", *where)
    assert result.code == 2
    told = f"holds {count} images" if count < 2 else "1 reals are too few"
    assert told in result.err


def test_images_need_features_or_a_measure(cli, images) -> None:
    folder, checkpoint = images
    result = cli("evaluate", f"checkpoint={checkpoint}", f"+data.root={folder}")
    assert result.code == 2
    assert "features=inception" in result.err
