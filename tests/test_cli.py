"""The command line: its output and its exit codes."""

import copy
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import islice
from string import ascii_lowercase

import datasets
import numpy as np
import pytest
import tiny
import torch
from pyarrow import parquet
from typer.testing import CliRunner

import textvae as package
from textvae.cli import app, main
from textvae.commands.arguments import lines_of
from textvae.commands.evaluate import EMBEDDED
from textvae.evaluation.diagnosis import described
from textvae.evaluation.evaluate import evaluate_rows
from textvae.interfaces.text_vae import TextVAE
from textvae.text.corpus import SAMPLED, load_corpus
from textvae.text.fields import Fields, TextField

pytestmark = pytest.mark.usefixtures("apart")

LINES = ["a b c", "d e f g h", "i", "", "q r s t", "z y x w v u"]
WRITTEN = [line for line in LINES if line]


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(1)
    return TextVAE(tiny.model(initial_range=1.0), tiny.tokenizer())


@pytest.fixture(scope="module")
def trained(vae, tmp_path_factory):
    """A run with its own corpus file."""
    folder = tmp_path_factory.mktemp("trained")
    vae.save_pretrained(folder)
    (folder / "corpus.txt").write_text("\n".join(LINES))
    recipe = f"""
        corpus: {{train: {folder}/corpus.txt, validation: {folder}/corpus.txt, test: {folder}/corpus.txt}}
        tokenizer: {{kind: words}}
        training: {{output_dir: {folder}}}
    """
    (folder / "recipe.yaml").write_text(recipe)
    return folder


@pytest.fixture(scope="module")
def cut(vae, trained, tmp_path_factory):
    """The same, but trained on texts of at most four tokens, including the end."""
    folder = tmp_path_factory.mktemp("cut")
    tokenizer = copy.deepcopy(vae.tokenizer)
    tokenizer.model_max_length = 4
    TextVAE(vae.model, tokenizer).save_pretrained(folder)
    shutil.copy(trained / "recipe.yaml", folder)
    return folder


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


# ---- results


def test_evaluate_is_evaluate(textvae, vae, cut, file):
    code, out, err = textvae("evaluate", cut, file, "--samples", 7, "--seed", 3, "--batch-size", 2, "--json")
    assert (code, err) == (0, "")
    rows = datasets.Dataset.from_dict({"text": WRITTEN})
    fields = Fields([TextField(vae.tokenizer, maximum_length=4)])
    expected = described(evaluate_rows(vae.model, fields, rows, samples=7, seed=3, batch_size=2))
    found = json.loads(out)
    # Where a tensor lies in memory may change the last bit of a product.
    name = "kl_per_dimension"
    assert found.pop(name) == pytest.approx(expected.pop(name))
    assert found == pytest.approx(expected)


def test_evaluate_refines_on_request(textvae, trained, file):
    found = []
    for steps in (0, 5):
        arguments = ("--samples", 50, "--refinement-steps", steps, "--json")
        found.append(json.loads(textvae("evaluate", trained, file, *arguments)[1])["neg_elbo"])
    assert found[1] < found[0]


def test_bf16_is_refused_where_it_cannot_be(textvae, trained, file, monkeypatch):
    monkeypatch.setattr("textvae.support.precision.lstm_in_bf16", lambda: False)
    code, _, err = textvae("evaluate", trained, file, "--bf16")
    assert code == 2
    assert "expected a CPU with AVX-512 for LSTMs in bf16, got one without: leave bf16 out" in err


@tiny.needs_bf16
def test_evaluate_is_in_bf16_on_request(textvae, file, tmp_path):
    single = tmp_path / "fp32"
    TextVAE(tiny.model(initial_range=1.0).float(), tiny.tokenizer()).save_pretrained(single)
    precise, fast = (
        json.loads(textvae("evaluate", single, file, "--samples", 5, "--json", *options)[1])["iw_nll"]
        for options in ((), ("--bf16",))
    )
    assert fast != precise
    assert fast == pytest.approx(precise, rel=0.02)


def test_evaluate_takes_the_test_split_of_the_recipe(textvae, trained, cut):
    code, out, err = textvae("evaluate", trained, "--samples", 2)
    assert (code, err) == (0, "")
    assert "K = 2" in out
    code, out, _ = textvae("evaluate", trained, "--samples", 2, "--json")
    assert (json.loads(out)["sentences"], json.loads(out)["tokens"]) == (5, 4 + 6 + 2 + 5 + 7)
    code, out, _ = textvae("evaluate", cut, "--samples", 2, "--json")
    assert (json.loads(out)["sentences"], json.loads(out)["tokens"]) == (5, 4 + 4 + 2 + 4 + 4)


def test_evaluate_takes_a_column_of_a_table(textvae, trained, tmp_path):
    (tmp_path / "table.csv").write_text("kind,said\nx y z,a b\nx y z,c\n")
    code, out, err = textvae("evaluate", trained, "table.csv", "--column", "said", "--samples", 2, "--json")
    assert (code, err, json.loads(out)["tokens"]) == (0, "", 3 + 2)
    (tmp_path / "bare.csv").write_text("x y z,a b\nx y z,c\n")
    code, out, _ = textvae("evaluate", trained, "bare.csv", "--column", "1", "--samples", 2, "--json")
    assert (code, json.loads(out)["tokens"]) == (0, 3 + 2)


def test_evaluate_on_the_embedded_corpus_knows_its_entropy(textvae, trained, cut, monkeypatch):
    monkeypatch.setattr("textvae.commands.evaluate.EMBEDDED", 50)
    code, out, _ = textvae("evaluate", trained, "grammar", "--samples", 1, "--json")
    test = load_corpus("grammar", sizes=(3, 3, 50))["test"]
    assert (code, json.loads(out)["sentences"]) == (0, 50)
    assert json.loads(out)["entropy"] == pytest.approx(-np.mean(test["log_prob"]))
    code, out, _ = textvae("evaluate", cut, "grammar", "--samples", 1, "--json")
    assert (code, "entropy" in json.loads(out)) == (0, False), "it is that of whole sentences"


def test_the_embedded_corpus_has_its_default_size():
    assert SAMPLED[2] == EMBEDDED


def test_sample(textvae, vae, trained):
    code, out, err = textvae("sample", trained, "-n", 3, "--seed", 5, "--maximum-length", 6)
    assert (code, err) == (0, "")
    assert out.splitlines() == vae.sample(3, seed=5, maximum_length=6)
    options = ("--temperature", 1.2, "--top-k", 9, "--top-p", 0.9)
    _, out, _ = textvae("sample", trained, "-n", 3, "--seed", 5, "--maximum-length", 6, "--json", *options)
    expected = vae.sample(3, seed=5, maximum_length=6, temperature=1.2, top_k=9, top_p=0.9)
    assert json.loads(out) == expected
    _, out, _ = textvae(
        "sample", trained, "-n", 3, "--seed", 5, "--maximum-length", 6, "--json", "--beams", 4
    )
    assert json.loads(out) == vae.sample(3, seed=5, maximum_length=6, num_beams=4)


def test_interpolate(textvae, vae, trained):
    code, out, err = textvae(
        "interpolate", trained, "a b", "z", "--steps", 4, "--path", "spherical", "--json"
    )
    assert (code, err) == (0, "")
    assert json.loads(out) == vae.interpolate("a b", "z", steps=4, path="spherical")
    _, out, _ = textvae("interpolate", trained, "a b", "z")
    assert out.splitlines() == vae.interpolate("a b", "z")


def test_a_strip_is_drawn_beside_what_is_printed(textvae, vae, trained, tmp_path):
    arguments = ["interpolate", trained, "a b", "z", "--steps", 3]
    _, out, err = textvae(*arguments, "--strip", tmp_path / "new/way.png")
    assert (out.splitlines(), err) == (vae.interpolate("a b", "z", steps=3), "")
    assert (tmp_path / "new/way.png").read_bytes().startswith(b"\x89PNG")
    scores = [row["log_likelihood"] for row in json.loads(textvae(*arguments, "--scores", "--json")[1])]
    page = (tmp_path / "new/way.html").read_text()
    assert [f'<span class="nats">{score:.1f}</span>' in page for score in scores] == [True] * 3
    assert "got way.jpg" in textvae(*arguments, "--strip", "way.jpg")[2]


def test_reconstruct(textvae, vae, trained, file):
    code, out, err = textvae("reconstruct", trained, file, "--json")
    assert (code, err) == (0, "")
    pairs = zip(LINES, vae.reconstruct(LINES), strict=True)
    assert json.loads(out) == [{"text": text, "reconstruction": result} for text, result in pairs]
    _, out, _ = textvae("reconstruct", trained, file, "-n", 2)
    first, second = vae.reconstruct(LINES[:2])
    assert out.splitlines() == [LINES[0], f"  -> {first}", LINES[1], f"  -> {second}"]


def test_a_dash_is_standard_input(textvae, trained, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfa b\r\nz\n")))
    _, out, _ = textvae("reconstruct", trained, "-", "--json")
    assert [pair["text"] for pair in json.loads(out)] == ["a b", "z"]


def test_encode_has_a_row_for_each_line(textvae, vae, trained, file, monkeypatch):
    monkeypatch.setattr("textvae.interfaces.vectors.ROWS", 2)
    code, out, err = textvae("encode", trained, file, "-o", "new/z.npy")
    assert (code, out, err) == (0, "", "")
    np.testing.assert_allclose(np.load("new/z.npy"), vae.encode(LINES), rtol=1e-6)
    assert np.load("new/z.npy").dtype == np.float32


def test_encode_has_a_row_for_each_text_of_a_table(textvae, vae, trained, tmp_path):
    (tmp_path / "said.csv").write_text("who,said\nanna,a b c\nbob,\ncarl,z y\n")
    for column in ("said", "1"):
        arguments = ["said.csv", "-o", "z.parquet", "--column", column, "--normalize", "--deviations"]
        if column == "1":
            (tmp_path / "said.csv").write_text("anna,a b c\nbob,\ncarl,z y\n")
        assert textvae("encode", trained, *arguments) == (0, "", "")
        table = parquet.read_table("z.parquet").to_pydict()
        assert table["text"] == ["a b c", "z y"]
        means, deviations = vae.encode(table["text"], normalize_embeddings=True, return_deviations=True)
        np.testing.assert_allclose(table["vector"], means, rtol=1e-5)
        np.testing.assert_allclose(table["deviation"], deviations, rtol=1e-5)


def test_encode_writes_lines_to_a_pipe(textvae, vae, trained, file):
    means, deviations = vae.encode(LINES, return_deviations=True)
    code, out, err = textvae("encode", trained, file, "--deviations")
    assert (code, err) == (0, "")
    printed = np.array([line.split("\t") for line in out.splitlines()], np.float32)
    np.testing.assert_allclose(printed, np.hstack([means, deviations]), rtol=1e-6)
    code, out, _ = textvae("encode", trained, file, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["text"] for row in rows] == LINES
    assert np.array_equal(np.array([row["vector"] for row in rows], np.float32), printed[:, : means.shape[1]])
    assert set(rows[0]) == {"text", "vector"}
    assert max(len(str(z)) for row in rows for z in row["vector"]) <= 15, (
        "no more digits than single precision has"
    )


def test_encode_goes_on_where_it_was_killed(textvae, vae, trained, file, tmp_path, monkeypatch):
    monkeypatch.setattr("textvae.interfaces.vectors.ROWS", 2)
    assert textvae("encode", trained, file, "-o", "whole.npy")[0] == 0

    def killed(lines):
        yield from islice(lines_of(lines), 5)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("textvae.commands.encode.lines_of", killed)
        assert textvae("encode", trained, file, "-o", "z.npy")[0] == 130
    assert not (tmp_path / "z.npy").exists()
    code, _, err = textvae("encode", trained, file, "-o", "z.npy", "--normalize")
    assert code == 2
    assert "z.npy.parts, got one with a different normalize" in err
    assert textvae("encode", trained, file, "-o", "z.npy")[0] == 0
    assert (tmp_path / "z.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert not (tmp_path / "z.npy.parts").exists()


def test_encode_writes_all_or_nothing(textvae, trained, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"a b\nz\nc \xff d\n")
    (tmp_path / "z.npy").write_text("old")
    code, _, err = textvae("encode", trained, "bad.txt", "-o", "z.npy")
    assert code == 2
    assert err == (
        "error: expected UTF-8, got byte 0xff in line 3 of bad.txt: convert it, e.g. iconv -f latin1 -t utf-8\n"
    )
    assert (tmp_path / "z.npy").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.txt", "z.npy"]


def test_encode_of_nothing_has_no_rows(textvae, trained, tmp_path):
    (tmp_path / "empty.txt").touch()
    assert textvae("encode", trained, "empty.txt", "-o", "z.npy")[0] == 0
    assert np.load("z.npy").shape == (0, 3)


# ---- mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "{run}x"], "found no {run}x: did you mean {run}?"),
        (["sample", "."], "found no config.json"),
        (["evaluate", "{run}", "nowhere.txt"], "nowhere.txt"),
        (["evaluate", "{run}", "{file}", "--column", "said"], "'said'"),
        (["reconstruct", "{run}", "nowhere.txt"], "found nothing at nowhere.txt"),
        (["reconstruct", "{run}", "."], "found a folder at ."),
        (["encode", "{run}", "{file}", "-o", "."], "expected a file to write to, got the folder ."),
        (["encode", "{run}", "{file}", "-o", "z.npy", "--json"], "expected --json only for standard output"),
        (["fill", "{run}", "a _ c"], "expected a blank ___ in the text, got none"),
        (["encode", "{run}", "{file}", "-o", "z.txt"], "expected a .npy or .parquet file, got z.txt"),
        (["encode", "{run}", "nowhere.txt", "-o", "z.npy"], "found nothing at nowhere.txt"),
        (["encode", "{run}", "nowhere.csv", "-o", "z.npy"], "nowhere.csv"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(textvae, trained, file, arguments, message):
    places = {"run": trained, "file": file}
    code, out, err = textvae(*(argument.format(**places) for argument in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("error: expected ")
    assert err.count("\n") == 1
    assert message.format(**places) in err


def test_evaluating_without_a_recipe_needs_a_file(textvae, trained, tmp_path):
    bare = shutil.copytree(trained, tmp_path / "bare")
    (bare / "recipe.yaml").unlink()
    code, _, err = textvae("evaluate", bare)
    assert code == 2
    assert "has no recipe.yaml" in err


def test_a_checkpoint_is_evaluated_by_the_recipe_of_its_run(textvae, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    checkpoint = run / "checkpoint-3"
    checkpoint.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (run / name).rename(checkpoint / name)
    code, out, _ = textvae("evaluate", checkpoint, "--samples", 1, "--json")
    assert (code, json.loads(out)["sentences"]) == (0, 5)
    code, _, err = textvae("evaluate", run)
    assert code == 2
    assert "expected a finished run" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["smaple"],
        ["sample"],
        ["sample", "run", "-n", "0"],
        ["evaluate", "run", "--samples", "0"],
        ["sample", "--top-q"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.output


def test_faults_of_ours_keep_their_traceback(trained, monkeypatch):
    monkeypatch.setattr(TextVAE, "sample", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["sample", str(trained)])


@pytest.mark.parametrize(
    ("number", "command", "code", "line"),
    [
        (signal.SIGINT, ["sample", "{run}"], 130, "stopped by SIGINT: run the same command again"),
        (signal.SIGTERM, ["sample", "{run}"], 143, "stopped by SIGTERM: run the same command again"),
        (
            signal.SIGTERM,
            ["encode", "{run}", "{file}", "-o", "z.npy"],
            143,
            "stopped by SIGTERM: run the same command again to continue after the finished texts",
        ),
    ],
)
def test_a_signal_is_one_line_that_says_how_to_go_on(
    textvae, trained, file, monkeypatch, number, command, code, line
):
    before = signal.getsignal(number)
    for method in ("sample", "encode"):
        monkeypatch.setattr(TextVAE, method, lambda *_, **__: signal.raise_signal(number))
    assert textvae(*(part.format(run=trained, file=file) for part in command)) == (code, "", f"{line}\n")
    assert signal.getsignal(number) == before


# ---- bars


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("options", "seen"), [([], True), (["--quiet"], False)])
def test_a_bar_on_a_terminal_unless_quiet(trained, file, monkeypatch, options, seen):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for arguments in (
        ["evaluate", trained, file, "--samples", "1"],
        ["encode", trained, file, "-o", "z.npy"],
        ["reconstruct", trained, file],
    ):
        with pytest.raises(SystemExit):
            main([*options, *map(str, arguments)])
        assert bool(terminal.getvalue()) is seen
        terminal.truncate(0)


# ---- the program


def program(source, **options):
    return subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=300, **options
    )


def test_help_and_version_need_no_torch():
    source = """
import sys
sys.argv = ["/some/bin/textvae", sys.argv[-1]]
from textvae.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert not end.code and not {"torch", "transformers", "datasets"} & set(sys.modules)
main(["--version"])
"""
    result = program(source)
    assert (result.returncode, result.stderr) == (0, "")
    assert all(
        command in result.stdout for command in ("evaluate", "sample", "interpolate", "reconstruct", "encode")
    )
    assert result.stdout.splitlines()[-1] == package.__version__


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error(unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        command = [sys.executable, "-m", "textvae", "--version"]
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        result = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, timeout=300, env=environment)
    assert (result.returncode, result.stderr) == (1, b"")


@pytest.mark.slow
def test_auto_model_knows_the_model_after_import_textvae(trained):
    source = f"""
import textvae
from transformers import AutoModel
assert type(AutoModel.from_pretrained({str(trained)!r})) is textvae.TextVAEModel
"""
    result = program(source)
    assert result.returncode == 0, result.stderr


def test_the_package_has_what_it_names():
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match="no attribute 'TextVEA'"):
        package.TextVEA  # noqa: B018


def test_letters_are_the_vocabulary(vae):
    """The tests above rely on this: their lines have no unknown words."""
    assert vae.tokenizer(list(ascii_lowercase), add_special_tokens=False)["input_ids"][0] == [4]
