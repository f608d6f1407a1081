"""Bad input: one message with key, value and way out, exit code 2, nothing left behind."""

import gzip
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = ("channel=simulator", "channel/workers=program", "channel.workers.retries=0")
CASES = {
    "unknown key": (["n_critc=3"], ["n_critc", "did you mean n_critic?"]),
    "unknown nested key": (
        ["bridge=finite_difference", "bridge.stepp=1"],
        ["bridge.stepp", "bridge.step?"],
    ),
    "added key": (["+n_critc=3"], ["n_critc", "n_critic"]),
    "added nested key": (["+generator.widht=3"], ["generator.widht", "width"]),
    "unknown option": (["bridge=exat"], ["bridge", "exat", "did you mean exact?"]),
    "wrong type": (["seed=abc"], ["seed", "abc", "int"]),
    "wrong nested type": (["data.batch_size=1.5"], ["data.batch_size", "1.5", "int"]),
    "boolean for a number": (["n_critic=true"], ["n_critic", "True", "int"]),
    "negative step": (
        ["bridge=finite_difference", "bridge.step=-1"],
        ["train: bridge.step must be positive", "-1"],
    ),
    "zero directions": (
        ["bridge=finite_difference", "bridge.directions.num_directions=0"],
        ["train: bridge.directions.num_directions must be at least 1", "0"],
    ),
    "zero draws": (
        ["bridge=score_function", "bridge.num_draws=0"],
        ["num_draws", "0", "at least 1"],
    ),
    "odd antithetic draws": (
        ["bridge=score_function", "bridge/draws=antithetic", "bridge.num_draws=7"],
        ["bridge.num_draws", "7", "bridge/draws=independent"],
    ),
    "no iterations": (["max_iterations=0"], ["max_iterations", "0", "try 2000"]),
    "n_critic": (["n_critic=0"], ["n_critic", "0", "try 1"]),
    "negative latents": (
        ["generator.latent_dim=-3"],
        ["train: generator.latent_dim must", "-3; try"],
    ),
    "batch larger than the data": (
        ["data.batch_size=501"],
        ["batch_size", "501", "500"],
    ),
    "score-only critic": (
        ["critic.access=scores"],
        ["critic.access", "finite_difference"],
    ),
    "unknown access": (["critic.access=all"], ["critic.access", "all", "gradient"]),
    "small budget": (
        ["bridge=finite_difference", "critic.budget=3"],
        ["critic.budget", "3", "160"],
    ),
    "compiled and differentiated twice": (
        ["compile.discriminator=true"],
        ["compile.discriminator", "Penalty", "penalty=none"],
    ),
    "wrong shape": (["data.event_shape=[3]"], ["event_shape", "[3]", "[2]"]),
    "wrong network": (["generator=dcgan"], ["generator", "event_shape"]),
    "misfit discriminator": (
        ["discriminator.event_shape=[5]"],
        ["discriminator", "[2]"],
    ),
    "labels that are not there": (
        ["bridge=surrogate_input", "bridge.per_class=true"],
        ["bridge", "per_class"],
    ),
    "more directions than dimensions": (
        ["bridge=finite_difference", "bridge/directions=orthonormal"],
        ["bridge", "num_directions", "at most 2"],
    ),
    "gradient through a simulator": (
        ["channel=simulator", "channel.workers.function.path=math.sqrt"],
        [
            *["SimulatorChannel", "score_function", "straight_through"],
            "(bridge=exact, channel=simulator)",
        ],
    ),
    "program that is not there": (
        [*PROGRAM, "channel.workers.command=[./nope]", "bridge=score_function"],
        ["train: channel: ", "command starts ./nope", "give its whole path"],
    ),
    "program that is no simulator": (
        [*PROGRAM, "channel.workers.command=[cat]", "bridge=score_function"],
        ["train: channel: the simulator failed: cat", "64 samples)"],
    ),
    "simulator that is not there": (
        ["channel=simulator", "channel.workers.function.path=nope.nope"],
        ["channel", "nope.nope"],
    ),
    "simulator that is not given": (
        ["channel=simulator"],
        ["channel.workers.function.path is missing"],
    ),
    "jpeg of points": (["channel=jpeg"], ["channel", "JPEG", "[2]"]),
    "wrong measure": (["metrics=mnist"], ["metrics"]),
    "learning rate": (
        ["optimizer.generator.lr=-1"],
        ["optimizer.generator.lr: ", "-1.0; try"],
    ),
    "learning rate in words": (
        ["optimizer.generator.lr=fast"],
        ["optimizer.generator.lr is 'fast', and it must be float\n"],
    ),
    "no graphics card": (
        ["trainer.accelerator=gpu"],
        ["(trainer.accelerator=gpu); use trainer.accelerator=cpu"],
    ),
    "a schedule that waits for a figure": (
        ["schedule.generator._target_=torch.optim.lr_scheduler.ReduceLROnPlateau"],
        ["schedule.generator", "T_max", "factor"],
    ),
    "a schedule without end": (
        ["schedule@schedule.generator=cosine", "schedule.generator.T_max=0"],
        ["schedule.generator", "0"],
    ),
    "an augmentation of what is no image": (
        ["augmentation=images"],
        ["discriminator", "[2]", "augmentation=none"],
    ),
    "clipping": (["clip_norm.generator=0"], ["clip_norm", "0", "positive"]),
    "average": (["average_decay=1.5"], ["average_decay", "1.5"]),
    "interval": (
        ["callbacks.quality.every_n_iterations=0"],
        ["callbacks.quality", "0"],
    ),
    "missing class": (
        ["bridge._target_=nope.Nope"],
        ["bridge._target_", "nope.Nope", "installed"],
    ),
    "not a class": (["bridge._target_=math.pi"], ["bridge._target_", "math.pi"]),
    "a group that is there for each player": (
        ["schedule=cosine"],
        ["give schedule@schedule.discriminator=cosine or schedule@schedule.generator="],
    ),
    "a schedule without its group": (
        ["schedule.generator=cosine"],
        ["schedule.generator is 'cosine'", "schedule@schedule.generator=OPTION"],
    ),
    "a part of another bridge": (
        ["bridge/directions=range"],
        ["bridge has no directions; choose bridge=adaptive_difference or bridge=fini"],
    ),
    "a group that is null": (
        ["bridge=null"],
        ["bridge takes the name of an option", "finite_difference"],
    ),
    "a number for both players": (
        ["clip_norm=1"],
        ["clip_norm is 1", "clip_norm.generator=1 or clip_norm.discriminator=1"],
    ),
    "a name of nothing": (["run_name="], ["run_name is empty"]),
    "a whole number as a float": (
        ["max_iterations=1e3"],
        ["write max_iterations=1000"],
    ),
    "a number as a name": (["run_name=12"], ["12", "\"run_name='12'\""]),
    "a word for a list": (["trust=mine"], ["trust is 'mine'", "write trust=[mine]"]),
    "a value with =": (["run_name=lr=1"], ["\"run_name='lr=1'\""]),
    "a file without its key": (["a/b.ckpt"], ["write checkpoint=a/b.ckpt"]),
    "a word alone": (["ring"], ["'ring' says not what it is for", "key=value"]),
    "a key with dashes": (["--max_iterations=9"], ["without dashes, max_iterations=9"]),
    "a group with a number": (["bridge=1"], ["bridge takes the name", "spsa"]),
    "a group twice": (["+bridge=spsa"], ["leave out the +"]),
    "a place of nothing": (["run_dir="], ["run_dir is empty"]),
    "clipping by Lightning": (
        ["+trainer.gradient_clip_val=1"],
        ["trainer.gradient_clip_val is 1", "clip_norm.generator"],
    ),
    "no epochs": (["+trainer.max_epochs=0"], ["trainer.max_epochs is 0"]),
    "no batches": (
        ["+trainer.limit_train_batches=0"],
        ["trainer.limit_train_batches is 0", "use max_iterations"],
    ),
    "steps of Lightning": (
        ["trainer.max_steps=9"],
        ["trainer.max_steps is 9", "leave trainer.max_steps out"],
    ),
    "double precision": (["trainer.precision=64-true"], ["64-true", "32-true"]),
    "a chunk of nothing": (
        ["critic.chunk_size=0"],
        ["critic.chunk_size must be", "null"],
    ),
    "a seed below zero": (["seed=-1"], ["seed is -1", "[0, 2^32)"]),
    "a seed too large": (["seed=4294967296"], ["seed is 4294967296", "[0, 2^32)"]),
    "a loss of torch as objective": (
        ["objective._target_=torch.nn.BCEWithLogitsLoss"],
        ["objective: BCEWithLogitsLoss is no Objective", "objectives.base.Objective"],
    ),
    "a module as bridge": (
        ["bridge._target_=torch.nn.Identity"],
        ["bridge: Identity is no GradientBridge", "bridges.base.GradientBridge"],
    ),
    "a module as callback": (
        ["+callbacks.mine._target_=torch.nn.Identity"],
        ["callbacks.mine: Identity is no Callback"],
    ),
    "a module as directions": (
        [
            "bridge=finite_difference",
            "~bridge.directions.num_directions",
            "bridge.directions._target_=torch.nn.Identity",
        ],
        ["bridge.directions._target_: Identity is no Directions"],
    ),
    "few held-out samples": (
        ["data.num_held_out=3"],
        [
            "callbacks.collapse_alarm: there are 3 held-out samples",
            "raise data.num_held_out",
            "callbacks.collapse_alarm=null",
        ],
    ),
    "data that are all alike": (
        ["data.num_modes=1", "data.sigma=1e-50"],
        [
            "callbacks.collapse_alarm: at least half of the reals are alike",
            "callbacks.collapse_alarm=null",
        ],
    ),
    "precision": (["trainer.precision=8"], ["trainer.precision", "8"]),
    "half precision": (["trainer.precision=16-mixed"], ["precision", "bf16-mixed"]),
    "devices": (["trainer.devices=none"], ["trainer.devices", "none"]),
    "several devices": (["trainer.devices=2"], ["2 processes", "trainer=ddp"]),
    "list without brackets": (["seed=1,2"], ["seed=1,2", "--multirun"]),
    "grammar": (["a=[1"], []),
    "no key": (["=3"], []),
    "interpolation": (["seed=${nope}"], ["needs nope, and there is none"]),
    "missing folder of configs": (["--config-dir", "nowhere"], ["nowhere"]),
}


@pytest.mark.parametrize(("overrides", "told"), CASES.values(), ids=CASES)
def test_bad_input_is_one_clear_message(train, tmp_path, overrides, told) -> None:
    result = train(*overrides)
    assert result.code == 2
    for part in told:
        assert part in result.err
    assert "Traceback" not in result.err
    assert "[HYDRA]" not in result.out
    assert len(result.err.strip().splitlines()) <= 6
    assert not list((tmp_path / "outputs").glob("*"))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "discriminator=conditional_mlp",
            "discriminator.num_classes of discriminator=conditional_mlp needs "
            "generator.num_classes, and generator=mlp has no num_classes; choose "
            "generator=conditional_dcgan or generator=conditional_mlp, or another "
            "discriminator",
        ),
        (
            "generator=lstm",
            "generator.vocabulary of generator=lstm needs data.vocabulary, and data=ring "
            "has no vocabulary; choose data=oracle_sequences or data=text_lines, or "
            "another generator",
        ),
        *(
            (
                without_quality,
                "callbacks.best_checkpoint.every_n_train_steps needs "
                "callbacks.quality.every_n_iterations, and there is no "
                "callbacks.quality; leave out callbacks.best_checkpoint, too, with "
                "callbacks.best_checkpoint=null",
            )
            for without_quality in ("callbacks.quality=null", "~callbacks.quality")
        ),
        (
            "optimizer.generator.lr=${generator.widht}",
            "optimizer.generator.lr needs generator.widht, and generator=mlp has no "
            "widht; did you mean width?",
        ),
    ],
)
def test_a_key_that_another_choice_lacks_is_told_with_both(cli, override, told) -> None:
    result = cli("train", "experiment=ring", override)
    assert (result.code, result.err) == (2, f"gan-gradflow train: {told}\n")


def test_an_output_folder_that_cannot_be_written_is_named(train, tmp_path) -> None:
    (tmp_path / "outputs").write_text("a file where a folder should be")
    result = train()
    assert result.code == 2
    assert "outputs" in result.err


def test_options_are_named_as_they_were_typed(cli) -> None:
    result = cli("train", "discriminator=packed_dcgan", "bridge=spsa")
    assert result.code == 2
    assert "(discriminator=packed_dcgan, bridge=spsa)" in result.err


@pytest.fixture
def mine(tmp_path):
    """A folder of the user's own options, a broken one among them."""
    for option, text in {
        "discriminator/seq": (
            ROOT / "configs/discriminator/packed_dcgan.yaml"
        ).read_text(),
        "bridge/withdraws": "defaults: [draws: independent, _self_]\nnum_draws: 4\n",
        "bridge/broken": "a: [",
        "generator/broken": "a: [",
        "generator/classy": "num_classes: 3\n",
    }.items():
        file = tmp_path / "mine" / f"{option}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return ("--config-dir", "mine")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["bridge=withdrws"],
            "bridge has no option 'withdrws'; did you mean withdraws?",
        ),
        (["bridge=withdraws", "bridge.num_drws=2"], "did you mean bridge.num_draws?"),
        (["bridge/draws=independent"], "bridge=score_function or bridge=withdraws"),
        (
            ["experiment=ring", "discriminator=conditional_mlp"],
            "choose generator=classy or generator=conditional_dcgan or",
        ),
        (["discriminator=seq", "bridge=spsa"], "(discriminator=seq, bridge=spsa)"),
    ],
)
def test_the_users_own_options_are_told_as_well(cli, mine, overrides, told) -> None:
    result = cli("train", *mine, *overrides)
    assert result.code == 2
    assert told in result.err
    assert "Traceback" not in result.err


def test_only_what_is_no_option_is_told_to_be_none(cli, mine) -> None:
    result = cli(
        "train", *mine, "discriminator=seq", "objective='hinge'", "bridge=null"
    )
    assert result.code == 2
    assert "bridge takes the name of an option, and null is none" in result.err
    assert "withdraws" in result.err
    assert "discriminator" not in result.err
    assert "objective" not in result.err


def test_data_are_not_unpacked_for_what_cannot_run(cli, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GAN_GRADFLOW_DATA", str(tmp_path / "data"))
    assert cli("train", "bridge=finite_difference", "bridge.step=-1").code == 2
    assert not list(tmp_path.glob("data/*"))


def test_a_batch_coupling_discriminator_is_refused_single_sample_bridges(cli) -> None:
    result = cli(
        "train", "discriminator.norm=batch", "bridge=score_function", "metrics=none"
    )
    assert result.code == 2
    assert "discriminator.norm=group" in result.err


def test_a_batch_that_does_not_make_up_packs_is_named(cli) -> None:
    packed = ["discriminator=packed_mlp", "data.batch_size=99", "data.num_train=500"]
    result = cli("train", "experiment=ring", *packed)
    assert result.code == 2
    assert "99 samples do not make up packs of 2" in result.err


def test_an_image_size_that_the_network_cannot_make_is_named(cli) -> None:
    result = cli("train", "generator.event_shape=[1,30,30]", "metrics=none")
    assert result.code == 2
    assert "30" in result.err


def test_a_truncated_archive_is_named(cli, tmp_path, monkeypatch) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    whole = gzip.decompress(
        (ROOT / "data" / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes()
    )
    (raw / "t10k-images-idx3-ubyte").write_bytes(whole[:1000])
    monkeypatch.setenv("GAN_GRADFLOW_DATA", str(tmp_path / "data"))
    result = cli("train", "max_iterations=1")
    assert result.code == 2
    assert "t10k-images-idx3-ubyte" in result.err


def test_an_unknown_image_folder_is_named(cli) -> None:
    result = cli("train", "data=image_folder", "data.root=nowhere", "metrics=none")
    assert result.code == 2
    assert "nowhere" in result.err
