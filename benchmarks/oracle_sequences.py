"""Adversarial training of a token LSTM after maximum likelihood, judged by the oracle.

    python benchmarks/oracle_sequences.py --vocabulary 50 --length 10
    python benchmarks/oracle_sequences.py --vocabulary 5000 --length 20 --iterations 1000

The task of SeqGAN (Yu et al., AAAI 2017): 10 000 sequences of an LSTM with standard normal
weights. Reported for each seed, in nats for a token: what the oracle thinks of generated
sequences after pre-training and after the game, and what the generator thinks of held-out
ones; and self-BLEU, that of the reals first. A fall of the first at a rise of the second is
no success, nor is a self-BLEU above that of the reals. Every game of a seed begins from the
same pre-training.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from runs import listed, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan_gradflow.cli.sample import load_generator
from gan_gradflow.metrics.self_bleu import self_bleu
from gan_gradflow.networks.sequences import LSTMOracle

GAMES = {
    "score_function, one score": (),
    "reward_to_go, a score for each position": (
        "bridge=reward_to_go",
        "bridge.num_draws=8",
        "discriminator=recurrent_sequence",
    ),
}


Stage = tuple[float, float, float]


def judged(run: Path, oracle: LSTMOracle) -> Stage:
    """The oracle's view of 10 000 sequences, the nll of reals, and self-BLEU of 2000."""
    generator = load_generator(str(run / "checkpoints/last.ckpt"), [])
    torch.manual_seed(0)
    tokens = generator.sample(torch.zeros(10_000, 1), averaged=True).long()
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    reals = [event.value for event in events.Scalars("quality/reals_nll")]
    return oracle.token_nll(tokens), reals[-1], self_bleu(tokens[:2000].tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vocabulary", type=int, default=50)
    parser.add_argument("--length", type=int, default=10)
    parser.add_argument("--pretraining", type=int, default=4000)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", default="", help="games whose name contains this")
    options = parser.parse_args()
    oracle = LSTMOracle(options.vocabulary, [options.length], 32, 32, 0)
    reals = oracle.sequences(2000, 0)
    print(f"the oracle of its own: {oracle.token_nll(reals):.3f}, ", end="")
    print(f"self-BLEU {self_bleu(reals.tolist()):.3f}\n", flush=True)
    settings = (
        "experiment=oracle_sequences",
        f"data.vocabulary={options.vocabulary}",
        f"data.event_shape=[{options.length}]",
    )
    before = (
        f"callbacks.likelihood.iterations={options.pretraining}",
        "max_iterations=1",
        "optimizer.generator.lr=0",  # the game leaves the pre-trained as they are
        "trainer.log_every_n_steps=1",
    )
    stages: dict[str, list[Stage]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            common = (*settings, f"seed={seed}")
            start = train(Path(folder), f"start-{seed}", *common, *before)
            stages.setdefault("pre-trained", []).append(judged(start, oracle))
            for number, (name, game) in enumerate(GAMES.items()):
                if options.only not in name:
                    continue
                run = train(
                    Path(folder),
                    f"run-{number}-{seed}",
                    *(*common, *game),
                    f"callbacks.likelihood.start={start}/checkpoints/last.ckpt",
                    "callbacks.likelihood.iterations=0",
                    f"max_iterations={options.iterations}",
                    f"callbacks.quality.every_n_iterations={options.iterations}",
                )
                stages.setdefault(name, []).append(judged(run, oracle))
                for stage in ("pre-trained", name):
                    print(f"seed {seed}, {stage}: {stages[stage][-1]}", flush=True)
    head = "oracle nll, each seed | mean | nll of reals | mean | self-BLEU | mean"
    print(f"| training | {head} |\n| --- {'| --- ' * 6}|")
    for name, found in stages.items():
        columns = zip(*found, strict=True)
        cells = " | ".join(listed(list(column), 3) for column in columns)
        print(f"| {name} | {cells} |")


if __name__ == "__main__":
    main()
