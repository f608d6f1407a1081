"""Functions at arm's length: what they answer, and what is done when they do not."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simulators
import torch

from gan_gradflow.critic import Critic
from gan_gradflow.workers.base import WorkerError
from gan_gradflow.workers.in_process import InProcess
from gan_gradflow.workers.pool import WorkerPool
from gan_gradflow.workers.protocols import JSONLines, NPYArrays
from gan_gradflow.workers.python import PythonPool

SAMPLES = np.arange(10.0).reshape(5, 2)
JSON_PROGRAM = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    answer = [[2 * x for x in row] for row in request["samples"]]
    print(json.dumps({"outputs": answer}), flush=True)
"""


@pytest.fixture
def python_pool(tmp_path):
    pools = []

    def make(function, arguments=None, seeded=False, timeout=60.0, retries=1):
        path = f"simulators.{function}"
        folder = str(tmp_path / "failures")
        pools.append(
            PythonPool(path, arguments or {}, seeded, 2, 2, timeout, retries, folder)
        )
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


@pytest.fixture
def children():
    """Asks for the processes that a test has started and not ended, zombies included."""
    known = _children()
    return lambda: _children() - known


def _children():
    tasks = Path("/proc/self/task").glob("*/children")
    return set(" ".join(task.read_text() for task in tasks).split())


def test_outputs_come_in_the_order_of_the_samples(python_pool):
    pool = python_pool("double")
    assert np.array_equal(pool(SAMPLES), 2 * SAMPLES)
    assert np.array_equal(pool(SAMPLES[:1]), 2 * SAMPLES[:1])


def test_a_class_is_built_with_its_arguments(python_pool):
    assert np.array_equal(python_pool("Power", {"exponent": 3})(SAMPLES), SAMPLES**3)


def test_chance_follows_the_seed_and_not_the_process(python_pool):
    first, second = (python_pool("noisy", seeded=True) for _ in range(2))
    assert np.array_equal(first(SAMPLES, 5), second(SAMPLES, 5))
    noise = first(SAMPLES, 6) - SAMPLES
    assert len(np.unique(noise)) == noise.size  # chunks have noise of their own


def test_lines_of_json_are_enough_for_a_program(tmp_path, children):
    command = [sys.executable, "-c", JSON_PROGRAM]
    pool = WorkerPool(command, JSONLines(), 2, 3, 60.0, 0, str(tmp_path))
    assert np.array_equal(pool(SAMPLES), 2 * SAMPLES)
    pool.close()
    assert not children()


def test_an_external_program_is_critic_enough_for_scores(python_pool):
    critic = Critic.from_numpy(python_pool("total"))
    losses = critic(torch.from_numpy(SAMPLES))
    assert torch.equal(losses, torch.from_numpy(SAMPLES.sum(1)))
    assert critic.queries == 5


WAYS = {
    "raises": "negative energy",
    "hangs": "no answer within",
    "nan": "NaN or infinite",
    "count": "one output for each",
    "dies": "SIGKILL",
}


@pytest.mark.parametrize(("way", "message"), WAYS.items())
def test_what_fails_for_good_is_saved_and_leaves_no_process(
    python_pool, tmp_path, way, message, children
):
    timeout = 1.0 if way == "hangs" else 60.0
    pool = python_pool("Wrong", {"way": way, "once": None}, timeout=timeout)
    samples = SAMPLES.copy()
    samples[3] *= -1
    with pytest.raises(WorkerError, match=f"{message}.*2 attempts on the same 2"):
        pool(samples)
    pool.close()
    saved = np.load(tmp_path / "failures" / "failed_0.npz")
    assert np.array_equal(saved["samples"], samples[2:4])
    assert not children()


@pytest.mark.parametrize("way", ["raises", "dies"])
def test_what_fails_once_is_asked_again(python_pool, tmp_path, way):
    pool = python_pool("Wrong", {"way": way, "once": str(tmp_path / "been")})
    assert np.array_equal(pool(-SAMPLES), -SAMPLES)
    assert not (tmp_path / "failures").exists()


@pytest.mark.parametrize("way", ["raises", "nan", "count"])
def test_a_function_in_this_process_fails_likewise(tmp_path, way):
    worker = InProcess(simulators.Wrong(way, None), 1, str(tmp_path))
    with pytest.raises(WorkerError, match=WAYS[way]):
        worker(-SAMPLES[1:])
    assert np.array_equal(np.load(tmp_path / "failed_0.npz")["samples"], -SAMPLES[1:])


def test_a_program_that_talks_nonsense_is_quoted(tmp_path, children):
    command = [sys.executable, "-c", "input(); print('hello')"]
    pool = WorkerPool(command, JSONLines(), 1, 9, 60.0, 0, str(tmp_path))
    with pytest.raises(WorkerError, match="'hello', which is not"):
        pool(SAMPLES)
    assert not children()


TWICE = {
    JSONLines: """
import json, sys
for line in sys.stdin:
    answer = json.dumps({"outputs": json.loads(line)["samples"]})
    print(answer + "\\n" + answer, flush=True)
""",
    NPYArrays: """
import io, sys
from gan_gradflow.workers.protocols import read_array, write_array
while True:
    samples, answers = read_array(sys.stdin.buffer), io.BytesIO()
    write_array(answers, samples)
    sys.stdout.buffer.write(2 * answers.getvalue())
    sys.stdout.buffer.flush()
""",
}


@pytest.mark.parametrize("protocol", TWICE)
def test_an_answer_too_many_is_not_taken_for_the_next_one(protocol, children):
    command = [sys.executable, "-c", TWICE[protocol]]
    pool = WorkerPool(command, protocol(), 1, 9, 60.0, 1, None)
    with pytest.raises(WorkerError, match=r"answers no request.*standard error"):
        pool(SAMPLES)
    assert not children()


EMPTY_LINES = """
import json, sys
for line in sys.stdin:
    answer = json.dumps({"outputs": json.loads(line)["samples"]})
    print("\\n" + answer + "\\n\\n" + sys.argv[1], flush=True)
"""


def test_empty_lines_between_answers_mean_nothing(tmp_path, children):
    command = [sys.executable, "-c", EMPTY_LINES, ""]
    pool = WorkerPool(command, JSONLines(), 1, 2, 60.0, 0, str(tmp_path))
    assert np.array_equal(pool(SAMPLES), SAMPLES)
    pool.close()
    assert not children()


def test_an_answer_too_many_behind_an_empty_line_is_refused():
    command = [sys.executable, "-c", EMPTY_LINES, '{"outputs": [0]}']
    pool = WorkerPool(command, JSONLines(), 1, 2, 60.0, 0, None)
    with pytest.raises(WorkerError, match=r"outputs.*answers no request"):
        pool(SAMPLES)


def test_what_is_said_between_two_requests_answers_none(tmp_path):
    go, said = tmp_path / "go", tmp_path / "said"
    os.mkfifo(go)  # whoever opens one waits for the other side
    os.mkfifo(said)
    program = f"""
import json, pathlib, sys
for line in sys.stdin:
    answer = json.dumps({{"outputs": json.loads(line)["samples"]}})
    print(answer, flush=True)
    pathlib.Path({str(go)!r}).read_text()
    print(answer, flush=True)
    pathlib.Path({str(said)!r}).write_text("")
"""
    pool = WorkerPool([sys.executable, "-c", program], JSONLines(), 1, 9, 60.0, 0, None)
    assert np.array_equal(pool(SAMPLES), SAMPLES)
    go.write_text("")
    said.read_text()
    with pytest.raises(WorkerError, match="answers no request"):
        pool(SAMPLES + 10)


def test_no_samples_have_no_outputs(python_pool):
    assert python_pool("double")(SAMPLES[:0]).shape == (0, 2)


def test_a_program_that_is_not_there_is_named_when_it_is_asked():
    pool = WorkerPool(["./nowhere"], NPYArrays(), 1, 9, 60.0, 2, None)
    with pytest.raises(WorkerError, match=r"command starts \./nowhere.*whole path"):
        pool(SAMPLES)


def test_a_program_that_cannot_be_started_is_tried_once(tmp_path):
    program = tmp_path / "program"
    program.write_bytes(b"no program")
    program.chmod(0o700)
    pool = WorkerPool([str(program)], NPYArrays(), 1, 9, 60.0, 2, str(tmp_path / "f"))
    with pytest.raises(WorkerError, match=r"Exec format error.*begin with #!$"):
        pool(SAMPLES)
    assert not (tmp_path / "f").exists()


def test_without_a_folder_no_samples_are_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    worker = InProcess(simulators.Wrong("raises", None), 0, None)
    with pytest.raises(WorkerError, match=r"on the same 4 samples\)$"):
        worker(-SAMPLES[1:])
    assert not list(tmp_path.iterdir())


def test_processes_end_with_the_one_that_started_them(tmp_path):
    program = """
import os, sys, numpy as np
from gan_gradflow.workers.python import PythonPool
pool = PythonPool("simulators.identity", {}, False, 1, 9, 60.0, 0, "failures")
print(int(pool(np.zeros((1, 1)))[0, 0]), flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    pid = done.stdout.split()[0]
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"command": []}, "command is empty"),
        ({"num_workers": 0}, "num_workers must be"),
        ({"timeout": 0.0}, "timeout must be"),
        ({"retries": -1}, "retries must not"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    given = {
        "command": ["x"],
        "protocol": NPYArrays(),
        "num_workers": 1,
        "chunk_size": 1,
        "timeout": 1.0,
        "retries": 0,
        "failures": "failures",
    }
    with pytest.raises(ValueError, match=message):
        WorkerPool(**given | change)


def test_a_function_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"cannot find 'simulators\.nope'"):
        PythonPool("simulators.nope", {}, False, 1, 1, 1.0, 0, "failures")
