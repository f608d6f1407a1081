"""Adversarial training of a token LSTM after maximum likelihood, judged by the oracle.

    python benchmarks/oracle_sequences.py --iterations 120 300 --folder outputs/oracle
    python benchmarks/oracle_sequences.py --vocabulary 50 --length 10 --pretraining 4000

The task of SeqGAN (Yu et al., AAAI 2017): 10 000 sequences of an LSTM with standard normal
weights. Reported for each seed, in nats for a token: what the oracle thinks of generated
sequences after pre-training and after the game, and what the generator thinks of held-out
ones; and self-BLEU, that of the reals first. A fall of the first at a rise of the second is
no success, nor is a self-BLEU above that of the reals. Nor is what dividing the logits by a
temperature would do, for which no critic is needed: that is reported, too. Every game of a
seed begins from the same pre-training; in a folder that is kept it is found again. With
several numbers of iterations each game goes on where the one before ended.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from runs import listed, train
from torch import Tensor

from gan_gradflow.cli.sample import load_generator
from gan_gradflow.datamodules.seeding import seed_for
from gan_gradflow.metrics.self_bleu import self_bleu
from gan_gradflow.networks.sequences import LSTMOracle

GAMES: dict[str, tuple[str, ...]] = {
    "score_function, one score": (),
    "reward_to_go, a score for each position": (
        "bridge=reward_to_go",
        "discriminator=recurrent_sequence",
        "optimizer.generator.lr=0.003",
        "optimizer.discriminator.lr=0.005",
        "schedule@schedule.generator=linear",  # the critic has to know something first
        "schedule.generator.start_factor=0.01",
        "schedule.generator.end_factor=1",
        "schedule.generator.total_iters=30",
    ),
}


Stage = tuple[float, float, float]


@torch.no_grad()
def judged(
    run: Path, oracle: LSTMOracle, held_out: Tensor, temperature: float = 1.0
) -> Stage:
    """The oracle's view of 10 000 sequences, the nll of reals, and self-BLEU of 2000."""
    generator = load_generator(str(run / "checkpoints/last.ckpt"), [])
    network = generator.averaged.module
    for weights in network.to_logits.parameters():
        weights /= temperature
    torch.manual_seed(0)
    tokens = generator.sample(torch.zeros(10_000, 1), averaged=True).long()
    of_reals = network(torch.zeros(len(held_out), 1)).token_log_prob(held_out)
    nll = -of_reals.mean().item()
    return oracle.token_nll(tokens), nll, self_bleu(tokens[:2000].tolist())


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vocabulary", type=int, default=5000)
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--pretraining", type=int, default=2000)
    parser.add_argument("--iterations", type=int, nargs="+", default=[300])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--only", default="", help="games whose name contains this")
    parser.add_argument("--temperatures", type=float, nargs="*", default=[0.95, 0.9])
    parser.add_argument(
        "--folder", default="", help="where the runs are kept, if at all"
    )
    return parser.parse_args()


def report(stages: dict[str, list[Stage]], seed: int, name: str, stage: Stage) -> None:
    """Keep a stage for the table, and print it."""
    stages.setdefault(name, []).append(stage)
    print(f"seed {seed}, {name}: {stage}", flush=True)


def main() -> None:
    given = options()
    oracle = LSTMOracle(given.vocabulary, [given.length], 32, 32, 0)
    reals = oracle.sequences(2000, 0)
    print(f"the oracle of its own: {oracle.token_nll(reals):.3f}, ", end="")
    print(f"self-BLEU {self_bleu(reals.tolist()):.3f}\n", flush=True)
    settings = (
        "experiment=oracle_sequences",
        f"data.vocabulary={given.vocabulary}",
        f"data.event_shape=[{given.length}]",
    )
    before = (
        f"callbacks.likelihood.iterations={given.pretraining}",
        "max_iterations=1",
        "n_critic=1",
        "optimizer.generator.lr=0",  # the game leaves the pre-trained as they are
        "trainer.log_every_n_steps=1",
    )
    kind = f"{given.vocabulary}-{given.length}-{given.pretraining}"
    stages: dict[str, list[Stage]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.folder or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for seed in given.seeds:
            common = (*settings, f"seed={seed}")
            held_out = oracle.sequences(1000, seed_for(seed, "held out"))
            start = folder / "outputs" / f"start-{kind}-{seed}"
            if not (start / "summary.json").exists():
                train(folder, start.name, *common, *before)
            report(stages, seed, "pre-trained", judged(start, oracle, held_out))
            for temperature in given.temperatures:
                stage = judged(start, oracle, held_out, temperature)
                name = f"pre-trained, temperature {temperature}"
                report(stages, seed, name, stage)
            for number, (game, changes) in enumerate(GAMES.items()):
                if given.only not in game:
                    continue
                begin = (
                    *(*common, *changes),
                    f"callbacks.likelihood.start={start}/checkpoints/last.ckpt",
                    "callbacks.likelihood.iterations=0",
                    f"callbacks.quality.every_n_iterations={given.iterations[-1]}",
                )
                name = f"run-{kind}-{number}-{seed}"
                for iterations in given.iterations:
                    run = train(folder, name, *begin, f"max_iterations={iterations}")
                    stage = judged(run, oracle, held_out)
                    report(stages, seed, f"{game}, {iterations} iterations", stage)
                    begin = (f"resume={run}",)
    head = "oracle nll, each seed | mean | nll of reals | mean | self-BLEU | mean"
    print(f"| training | {head} |\n| --- {'| --- ' * 6}|")
    for name, found in stages.items():
        columns = zip(*found, strict=True)
        cells = " | ".join(listed(list(column), 3) for column in columns)
        print(f"| {name} | {cells} |")


if __name__ == "__main__":
    main()
