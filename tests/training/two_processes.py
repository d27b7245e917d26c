"""Trains a tiny model under torchrun and saves the sentences each process read: two_processes.py FOLDER KIND."""

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import tiny

from textvae.support.processes import leave

KINDS = {
    "sentences": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2},
    "thirds": {"per_device_train_batch_size": 8},
    "kept": {
        "per_device_train_batch_size": 16,
        "save_strategy": "steps",
        "save_steps": 2,
        "save_total_limit": 5,
    },
    "resumed": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2},
    "tokens": {"tokens_per_batch": 40, "gradient_accumulation_steps": 2},
    # 24 steps read each of the 96 sentences once.
    "stream": {"per_device_train_batch_size": 2, "max_steps": 24},
    "files": {"per_device_train_batch_size": 2, "max_steps": 24},
}
SHARDS = {"stream": 1, "files": 4}


def main(folder: Path, kind: str, rank: str) -> None:
    """Train, and save ``rank``.json and ``rank``.pt."""
    with pytest.MonkeyPatch.context() as patch:
        tiny.without_noise(patch)
        options = {"max_steps": 5, "eval_strategy": "steps", "eval_steps": 5, "ddp_backend": "gloo"}
        trainer = tiny.trainer(folder, **(options | KINDS[kind]))
        if kind in SHARDS:
            trainer.train_dataset = trainer.train_dataset.to_iterable_dataset(SHARDS[kind])
        rows, draws, collate = [], [], trainer.data_collator

        def remembered(examples):
            with torch.random.fork_rng():
                draws.append(torch.rand(()).item())
            rows.extend(example["ids"] for example in examples)
            return collate(examples)

        trainer.data_collator = remembered
        trainer.train(resume_from_checkpoint=str(folder / "checkpoint-2") if kind == "resumed" else None)
    seen = {
        "logs": trainer.state.log_history,
        "draw": draws[0],  # what the noise of the first batch begins with
        "processes": trainer.args.world_size,
        "rows": rows,
    }
    (folder / f"{rank}.json").write_text(json.dumps(seen))
    torch.save(tiny.weights(trainer.model), folder / f"{rank}.pt")


def threads() -> list[str]:
    """The names of all threads of this process, including those of libraries."""
    names = []
    for thread in Path("/proc/self/task").glob("*/comm"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            names.append(thread.read_text())
    return names


def gloo_ends(seconds: float = 10.0) -> bool:
    """Wait for gloo's threads to end (the system lists a joined thread a moment longer); returns whether they did."""
    deadline = time.monotonic() + seconds
    while any("gloo" in name for name in threads()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2], os.environ["RANK"])
    assert any("gloo" in name for name in threads())
    leave()
    assert gloo_ends()
