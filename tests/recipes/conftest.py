import pytest
import tiny
from scripts import run_script

from textvae.interfaces.text_vae import TextVAE


@pytest.fixture
def script(monkeypatch, capsys):
    """Runs a script of recipes/."""
    return lambda path, *arguments: run_script(f"recipes/{path}", arguments, monkeypatch, capsys)


@pytest.fixture
def run_folder(tmp_path):
    """Makes the run folder of a tiny model whose recipe says that it was trained on the texts."""

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
