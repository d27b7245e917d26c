"""The progress on standard error while a model trains."""

import re
import sys

import tiny
from transformers import TrainerState, TrainingArguments

from textvae.training.progress import Progress


def test_a_line_a_log_and_no_bar_where_there_is_no_terminal(tmp_path, capsys):
    trainer = tiny.trainer(tmp_path, max_steps=2, logging_steps=1, eval_strategy="steps", eval_steps=2)
    trainer.add_callback(Progress())
    trainer.train()
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert len(lines) == 4
    assert re.match(r"(healthy|weak|collapsed): ", lines[3])
    number = r"[-\d.e+]+"
    assert re.match(
        rf"step 1/2, epoch 0\.\d\d: loss {number}, reconstruction {number}, KL {number}, ", lines[0]
    )
    assert re.search(
        rf"validation -ELBO {number}, PPL {number}, KL {number}, active units \d, MI {number}", lines[2]
    )


def test_quiet_is_quiet(tmp_path, capsys):
    trainer = tiny.trainer(tmp_path, max_steps=2, logging_steps=1, eval_strategy="steps", eval_steps=2)
    trainer.add_callback(Progress(quiet=True))
    trainer.train()
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal_goes_on_where_training_does(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for quiet, expected in ((False, (7, 10)), (True, None)):
        progress = Progress(quiet)
        state = TrainerState(max_steps=10, global_step=6)
        arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
        progress.on_train_begin(arguments, state, None)
        progress.on_step_end(arguments, state, None)
        assert (progress.bar and (progress.bar.n, progress.bar.total)) == expected
        progress.on_train_end(arguments, state, None)
