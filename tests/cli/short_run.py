"""The clone, and overrides that make a run short and its networks small."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
BRIEF = (
    "max_iterations=4",
    "generator.width=16",
    "discriminator.width=16",
    "data.num_train=500",
    "data.batch_size=20",
    "metrics.num_samples=200",
    "callbacks.quality.every_n_iterations=2",
    "callbacks.sample_grid.every_n_iterations=2",
    "callbacks.sample_grid.num_samples=9",
    "callbacks.last_checkpoint.every_n_train_steps=2",
    "trainer.log_every_n_steps=1",
)
SHORT = (
    *BRIEF,
    "callbacks.gradient_flow.every_n_iterations=2",
    "callbacks.collapse_alarm.every_n_iterations=2",
    "run_name=short",
)
