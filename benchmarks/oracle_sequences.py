"""Adversarial training of a token LSTM after maximum likelihood, judged by the oracle.

    python benchmarks/oracle_sequences.py --vocabulary 50 --length 10 --seeds 3
    python benchmarks/oracle_sequences.py --vocabulary 5000 --length 20 --pretraining 18000

The task of SeqGAN (Yu et al., AAAI 2017): 10 000 sequences of an LSTM with standard normal
weights. Reported for each seed, in nats for a token: what the oracle thinks of generated
sequences after pre-training and after the game, and what the generator thinks of held-out
ones; and self-BLEU. A fall of the first at a rise of the others is no success.
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

BRIDGES = {
    "reward_to_go, a score for each position": (),
    "score_function, one score": ("bridge=score_function", "bridge.num_draws=2"),
}


def reals_nll(run: Path) -> list[float]:
    """What the generator thinks of held-out sequences, before the game and after."""
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    values = [event.value for event in events.Scalars("quality/reals_nll")]
    return [values[0], values[-1]]


def judged(run: Path, checkpoint: str, oracle: LSTMOracle) -> tuple[float, float]:
    """The oracle's view of 10 000 sequences, and self-BLEU of 2000."""
    generator = load_generator(str(run / "checkpoints" / checkpoint), [])
    torch.manual_seed(0)
    tokens = generator.sample(torch.zeros(10_000, 1), averaged=True).long()
    return oracle.token_nll(tokens), self_bleu(tokens[:2000].tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vocabulary", type=int, default=50)
    parser.add_argument("--length", type=int, default=10)
    parser.add_argument("--pretraining", type=int, default=4000)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    oracle = LSTMOracle(options.vocabulary, [options.length], 32, 32, 0)
    settings = (
        "experiment=oracle_sequences",
        f"data.vocabulary={options.vocabulary}",
        f"data.event_shape=[{options.length}]",
        f"callbacks.likelihood.iterations={options.pretraining}",
        f"callbacks.quality.every_n_iterations={options.iterations}",
    )
    head = "oracle nll, each seed | mean | nll of reals | mean | self-BLEU | mean"
    print(f"| training | {head} |\n| --- {'| --- ' * 6}|")
    with tempfile.TemporaryDirectory() as folder:
        stages: dict[str, list[tuple[float, float, float]]] = {"pre-trained": []}
        for number, (name, bridge) in enumerate(BRIDGES.items()):
            stages[name] = []
            for seed in range(1, options.seeds + 1):
                run = train(
                    Path(folder),
                    f"run-{number}-{seed}",
                    *settings,
                    *bridge,
                    f"seed={seed}",
                    f"max_iterations={options.iterations}",
                )
                before, after = reals_nll(run)
                nll, bleu = judged(run, "last.ckpt", oracle)
                stages[name].append((nll, after, bleu))
                if number == 0:
                    start = train(
                        Path(folder),
                        f"start-{seed}",
                        *settings,
                        f"seed={seed}",
                        "max_iterations=1",
                        "trainer.log_every_n_steps=1",
                        "optimizer.generator.lr=0",
                    )
                    nll, bleu = judged(start, "last.ckpt", oracle)
                    stages["pre-trained"].append((nll, before, bleu))
            for stage in ("pre-trained", name) if number == 0 else (name,):
                columns = zip(*stages[stage], strict=True)
                cells = " | ".join(listed(list(column), 3) for column in columns)
                print(f"| {stage} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
