"""Trains a tiny model under torchrun and saves what each process saw: two_processes.py FOLDER."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import tiny


def main(folder: Path, rank: str) -> None:
    """Train, and save ``rank``.json and ``rank``.pt."""
    with pytest.MonkeyPatch.context() as patch:
        tiny.without_noise(patch)
        trainer = tiny.trainer(
            folder,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=2,
            max_steps=5,
            eval_strategy="steps",
            eval_steps=5,
            ddp_backend="gloo",
        )
        draw = torch.rand(()).item()
        trainer.train()
    seen = {"logs": trainer.state.log_history, "draw": draw, "processes": trainer.args.world_size}
    (folder / f"{rank}.json").write_text(json.dumps(seen))
    torch.save(tiny.weights(trainer.model), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), os.environ["RANK"])
