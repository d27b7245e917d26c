import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny

from textvae.text_vae import TextVAE


@dataclass
class Ended:
    """What a script left: its exit code, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def script(monkeypatch, capsys):
    """Runs a script of recipes/ in this process, which has imported everything already."""

    def run_script(path, *arguments):
        path = Path(__file__).parents[2] / "recipes" / path
        # As where a script is run, the files beside it are found.
        monkeypatch.syspath_prepend(path.parent)
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        return Ended(code, *capsys.readouterr())

    return run_script


@pytest.fixture
def run_folder(tmp_path):
    """Makes a run folder of a tiny model that was trained, says its recipe, on the texts."""

    def make(texts):
        TextVAE(tiny.model(), tiny.tokenizer()).save_pretrained(tmp_path)
        file = tmp_path / "corpus.txt"
        file.write_text("\n".join(texts))
        corpus = f"{{train: {file}, validation: {file}, test: {file}}}"
        tokenizer = "{kind: words, maximum_length: 8}"
        recipe = f"corpus: {corpus}\ntokenizer: {tokenizer}\ntraining: {{output_dir: {tmp_path}}}\n"
        (tmp_path / "recipe.yaml").write_text(recipe)
        return tmp_path

    return make
