import lightning as L
import pytest
import torch


class Recorder(L.LightningModule):
    """Writes down the batches it gets, and may fail in the middle of an iteration."""

    def __init__(self, fails_at=None):
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.fails_at = fails_at
        self.seen = []

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch, batch_idx):
        if batch_idx == self.fails_at:
            raise ZeroDivisionError
        self.seen.append((batch_idx, batch.labels.tolist()))


class SaveAndStop(L.Callback):
    def __init__(self, at, path):
        self.at, self.path = at, path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == self.at:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True

    def on_exception(self, trainer, pl_module, exception):
        trainer.save_checkpoint(self.path)


def fit(data, fails_at=None, ckpt_path=None, callbacks=()):
    module = Recorder(fails_at)
    trainer = L.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=list(callbacks),
    )  # fmt: skip
    try:
        trainer.fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    except ZeroDivisionError:
        assert fails_at is not None
    return module.seen


@pytest.mark.parametrize("stop", [0, 2, 4])
def test_a_resumed_run_sees_the_batches_of_an_uninterrupted_one(
    counting, tmp_path, stop
):
    path = tmp_path / "stopped.ckpt"
    before = fit(counting(), callbacks=[SaveAndStop(stop, path)])
    assert len(before) == stop + 1
    assert before + fit(counting(), ckpt_path=path) == fit(counting())


def test_a_run_that_fails_in_an_iteration_resumes_at_that_iteration(counting, tmp_path):
    path = tmp_path / "failed.ckpt"
    before = fit(counting(), fails_at=3, callbacks=[SaveAndStop(None, path)])
    assert len(before) == 3
    assert before + fit(counting(), ckpt_path=path) == fit(counting())


def test_a_process_of_a_group_gets_its_part_of_the_batch(counting, monkeypatch):
    whole = counting().train_dataloader().batch(0).labels
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    assert torch.equal(counting().train_dataloader().batch(0).labels, whole[:, 2:])


def test_held_out_samples_are_found_by_slice_and_by_index(counting):
    data = counting()
    assert data.held_out_floats(slice(2))[:, 0].tolist() == [100, 101]
    assert data.held_out_floats(torch.tensor([2, 0]))[:, 0].tolist() == [102, 100]


def test_the_data_are_loaded_once(counting):
    data = counting()
    data.setup("fit")
    assert data.train_reals is data.train_reals


def test_an_event_shape_that_is_not_the_datas_is_refused(counting):
    data = counting(event_shape=(1, 28, 28))
    with pytest.raises(ValueError, match=r"\[1, 28, 28\].*data.event_shape=\[2\]"):
        data.setup("fit")


@pytest.mark.parametrize(
    "name", ["batch_size", "num_iterations", "batches_per_iteration"]
)
def test_a_count_below_one_is_refused(counting, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        counting(**{name: 0})
