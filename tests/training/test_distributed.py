"""Two and three processes that share each batch, compared with one process that has the whole batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch

pytestmark = pytest.mark.slow


def two_processes(folder, kind, count=2):
    """The sentences that each of two processes, or of another count, read, and its final weights."""
    script = Path(__file__).with_name("two_processes.py")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    ended = subprocess.run(
        [*torchrun, str(script), str(folder), kind],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return [
        (
            json.loads((folder / f"{rank}.json").read_text()),
            torch.load(folder / f"{rank}.pt", weights_only=True),
        )
        for rank in range(count)
    ]


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    return two_processes(tmp_path_factory.mktemp("two"), "sentences")


def one_process(folder, **options):
    """A trainer that has taken the same steps in one process."""
    with pytest.MonkeyPatch.context() as patch:
        tiny.without_noise(patch)
        trainer = tiny.trainer(folder, max_steps=5, eval_strategy="steps", eval_steps=5, **options)
        trainer.train()
    return trainer


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return one_process(tmp_path_factory.mktemp("one"), per_device_train_batch_size=32)


def test_two_processes_make_the_steps_of_one(processes, alone):
    (seen, weights), (other, other_weights) = processes
    assert seen["processes"] == other["processes"] == 2
    torch.testing.assert_close(weights, other_weights, rtol=0, atol=0)
    torch.testing.assert_close(weights, tiny.weights(alone.model))


def test_three_processes_make_the_steps_of_one(tmp_path):
    found = two_processes(tmp_path, "thirds", 3)
    alone = one_process(tmp_path, per_device_train_batch_size=24)
    bounds = [entry["eval_neg_elbo"] for entry in alone.state.log_history if "eval_neg_elbo" in entry]
    rows = []
    for seen, weights in found:
        assert seen["processes"] == 3
        torch.testing.assert_close(weights, found[0][1], rtol=0, atol=0)
        rows.append(seen["rows"])
    torch.testing.assert_close(found[0][1], tiny.weights(alone.model))
    logged = [entry["eval_neg_elbo"] for entry in found[0][0]["logs"] if "eval_neg_elbo" in entry]
    assert logged == pytest.approx(bounds, rel=1e-6)
    assert logged
    assert rows[0] != rows[1] != rows[2] != rows[0], "each has its own third"


@pytest.mark.parametrize("name", ["loss", "kl", "reconstruction", "grad_norm", "eval_neg_elbo", "eval_kl"])
def test_two_processes_log_the_means_of_one(processes, alone, name):
    logged = [entry[name] for entry in processes[0][0]["logs"] if name in entry]
    assert logged == pytest.approx(
        [entry[name] for entry in alone.state.log_history if name in entry], rel=1e-6
    )
    assert logged


@pytest.mark.slow
def test_what_two_processes_began_one_ends(tmp_path, alone):
    """The run is resumed in the middle of an epoch, with the same number of sentences per step."""
    two_processes(tmp_path, "kept")
    with pytest.MonkeyPatch.context() as patch:
        tiny.without_noise(patch)
        trainer = tiny.trainer(tmp_path, max_steps=5, per_device_train_batch_size=32)
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    torch.testing.assert_close(tiny.weights(trainer.model), tiny.weights(alone.model))


@pytest.mark.slow
def test_what_one_process_began_two_end(tmp_path, alone):
    one_process(
        tmp_path, per_device_train_batch_size=32, save_strategy="steps", save_steps=2, save_total_limit=5
    )
    (_, weights), _ = two_processes(tmp_path, "resumed")
    torch.testing.assert_close(weights, tiny.weights(alone.model))


def test_two_processes_draw_different_numbers(processes):
    assert processes[0][0]["draw"] != processes[1][0]["draw"]


@pytest.mark.slow
def test_two_processes_make_the_steps_of_one_with_batches_of_so_many_tokens(tmp_path):
    (_, weights), (_, other_weights) = two_processes(tmp_path, "tokens")
    alone = one_process(tmp_path, tokens_per_batch=40, gradient_accumulation_steps=4)
    torch.testing.assert_close(weights, other_weights, rtol=0, atol=0)
    torch.testing.assert_close(weights, tiny.weights(alone.model))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stream", "files"])
def test_each_process_reads_its_own_part_of_a_stream(tmp_path, kind):
    """Together they read each sentence once, from one file or from several."""
    (seen, weights), (other, other_weights) = two_processes(tmp_path, kind)
    # The loader reads ahead into the next epoch.
    rows = seen["rows"][:48] + other["rows"][:48]
    assert sorted(rows) == sorted(tiny.trainer(tmp_path).train_dataset["ids"])
    torch.testing.assert_close(weights, other_weights, rtol=0, atol=0)
