"""The trace: a file that a viewer of traces reads."""

import json
from types import SimpleNamespace

import pytest
import torch

from gan_gradflow.callbacks.profiler_trace import ProfilerTrace


@pytest.mark.parametrize("ends_at", [5, 3])
def test_the_trace_holds_the_operations_of_the_iterations_asked_for(tmp_path, ends_at):
    file = tmp_path / "traces" / "trace.json"
    callback = ProfilerTrace(2, 2, str(file))
    trainer = SimpleNamespace(global_step=0, is_global_zero=True)
    for iteration in range(ends_at):
        callback.on_train_batch_start(trainer, None)
        torch.ones(iteration + 1).cumsum(0)
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, None)
    callback.teardown(trainer, None, "fit")
    events = json.loads(file.read_text())["traceEvents"]
    names = [event.get("name") for event in events]
    assert names.count("aten::cumsum") == min(ends_at - 2, 2)


@pytest.mark.parametrize(
    "arguments", [(-1, 1, "a.json"), (0, 0, "a.json"), (0, 1, "a")]
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=r"got (-1|0|a)"):
        ProfilerTrace(*arguments)
