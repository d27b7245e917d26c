"""The textbook computes the same as the package, the counts are right, and the scripts print what they promise."""

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean, pstdev
from types import SimpleNamespace

import pytest
import tiny
import torch
from torch.utils.flop_counter import FlopCounterMode

from textvae.inference.bounds import bounds
from textvae.objectives.elbo import ELBO

FOLDER = Path(__file__).parents[2] / "recipes" / "benchmarks"
KINDS = ("lstm", "dilated")


@pytest.fixture(autouse=True)
def denormals():
    """The scripts, which are programs of their own, make the CPU flush denormal numbers for good."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def scripts(monkeypatch) -> SimpleNamespace:
    """The modules of the benchmarks, with tiny models and products."""
    monkeypatch.syspath_prepend(FOLDER)
    names = ("measure", "textbook", "jobs", "throughput", "scaling", "output_layer")
    found = {name: importlib.import_module(name) for name in names}
    sizes = {"embedding_size": 6, "hidden_size": 8}
    models = {"lstm-256": sizes, "dilated": sizes | {"decoder": {"kind": "dilated_convolution"}}}
    monkeypatch.setattr(found["measure"], "MODELS", models)
    monkeypatch.setattr(found["measure"], "PRODUCT", {"cpu": 32})
    monkeypatch.setattr(found["throughput"], "VOCABULARY", 50)
    return SimpleNamespace(**found)


@pytest.fixture
def lines(scripts, monkeypatch, capsys):
    """The lines that a script prints."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        getattr(scripts, name).main()
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def pair(scripts, kind, **options):
    """A model without dropout, and the textbook with its weights."""
    ours = tiny.model(**tiny.DECODERS[kind], latent_size=4, dropout=0.0, **options)
    return ours, scripts.textbook.TextbookVAE(ours).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_those_of_the_textbook(scripts, kind):
    ours, textbook = pair(scripts, kind)
    batch = tiny.batch()
    torch.manual_seed(1)
    loss = ELBO()(ours(**batch), 1.0).loss
    loss.backward()
    torch.manual_seed(1)
    other = textbook.loss(batch)
    other.backward()
    torch.testing.assert_close(loss, other)
    theirs = dict(textbook.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[scripts.textbook.textbook_name(name)].grad)


def test_a_step_of_the_textbook_goes_down_the_clipped_gradient(scripts):
    _, textbook = pair(scripts, "lstm")
    batch, parameters = tiny.batch(60, 60), list(textbook.parameters())
    torch.manual_seed(1)
    loss = textbook.loss(batch)
    gradients = torch.autograd.grad(loss, parameters)
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert norm > 5
    expected = [p.detach() - 0.1 * 5 / norm * g for p, g in zip(parameters, gradients, strict=True)]
    torch.manual_seed(1)
    found = scripts.textbook.train_step(textbook, torch.optim.SGD(parameters, lr=0.1), batch)
    assert found == loss.item()
    torch.testing.assert_close(parameters, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [100, 4])
def test_importance_weighted_bounds_are_those_of_the_textbook(scripts, kind, chunk):
    """Torch draws sixteen numbers at once. Four samples of size four are one block, so chunks of them draw the same."""
    ours, textbook = pair(scripts, kind)
    batch = tiny.batch()
    for row in range(len(batch.inputs)):
        sentence = tiny.row(batch, row)
        torch.manual_seed(row)
        expected = bounds(ours, sentence, 12).iw_nll
        torch.manual_seed(row)
        found = scripts.textbook.iw_nll(textbook, sentence, 12, chunk)
        torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected)


def test_the_textbook_takes_each_sentence_of_a_batch_without_its_pads(scripts):
    _, textbook = pair(scripts, "lstm")
    batch = tiny.batch(5, 1, 7)
    torch.manual_seed(1)
    together = scripts.textbook.iw_nll(textbook, batch, 16)
    torch.manual_seed(1)
    alone = [scripts.textbook.iw_nll(textbook, tiny.row(batch, row), 16)[0] for row in range(3)]
    assert together == pytest.approx(alone)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beams", [1, 3])
def test_the_textbook_writes_the_same_text(scripts, kind, beams):
    ours, _ = pair(scripts, kind, initial_range=1.5)
    textbook = scripts.textbook.TextbookVAE(scripts.measure.endless(ours)).eval()
    z = torch.randn(5, 4, dtype=torch.float64)
    written = ours.generate(z, max_new_tokens=12, num_beams=beams)[:, 1:]
    assert len(written.unique(dim=0)) > 1
    assert torch.equal(scripts.textbook.generate(textbook, z, 1, 12, beams), written)


@pytest.mark.parametrize("kind", KINDS)
def test_flops_are_those_that_torch_counts(scripts, kind):
    """oneDNN has no LSTM in double precision, so torch counts every product; without padding the counts must agree."""
    model, textbook = pair(scripts, kind)
    batch = tiny.batch(30, 30)
    work, twice = (2, 2 * 31), (4, 4 * 31)

    def counted(call):
        with FlopCounterMode(display=False) as counter:
            call()
        return counter.get_total_flops()

    with torch.no_grad():
        assert counted(lambda: model.encode(batch.targets, batch.mask)) == scripts.measure.flops(
            model.config, work
        )
        assert counted(lambda: model(**batch, samples=2)) == scripts.measure.flops(model.config, work, twice)
    # The encoder's first state is constant, so its part of the gradient, one position in 31, is missing. (Torch does
    # not count the products that our output layer adds in place.)
    trained = counted(lambda: textbook.loss(batch).backward())
    assert trained == pytest.approx(3 * scripts.measure.flops(model.config, work, work), rel=0.01)


def test_random_sentences_are_as_long_as_those_of_ptb(scripts):
    texts = list(scripts.measure.random_sentences(5000, 50))
    lengths = [len(text.split()) + 1 for text in texts]
    assert mean(lengths) == pytest.approx(22.1, rel=0.05)
    assert pstdev(lengths) == pytest.approx(10.1, rel=0.05)
    words = " ".join(texts).split()
    assert words.count("w0") / words.count("w3") == pytest.approx(4, rel=0.1)
    tokenizer = scripts.measure.new_tokenizer(50)
    assert len(tokenizer) == 50
    assert set(words) <= set(tokenizer.get_vocab())


@pytest.mark.slow
def test_the_peak_is_that_of_the_call(scripts):
    _, quiet = scripts.measure.with_peak(lambda: None, "cpu")
    if quiet is None:
        pytest.skip("needs Linux's /proc")
    total, peak = scripts.measure.with_peak(lambda: torch.ones(2**24).sum().item(), "cpu")
    assert total == 2**24
    assert peak - quiet == pytest.approx(64, abs=16)
    assert scripts.measure.with_peak(lambda: None, "cpu")[1] < peak - 32, "an earlier peak is forgotten"


def test_products_are_of_the_precision_that_is_asked_for(scripts):
    for dtype, expected in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with scripts.measure.precision(dtype, "cpu"):
            assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == expected


@pytest.mark.slow
def test_the_bare_steps_are_those_of_the_trainer(scripts, monkeypatch):
    tiny.without_noise(monkeypatch)
    monkeypatch.setitem(scripts.measure.MODELS["lstm-256"], "dropout", 0.0)
    monkeypatch.setattr(scripts.jobs, "BATCH", 4)
    models, new_model = [], scripts.jobs.new_model
    monkeypatch.setattr(
        scripts.jobs, "new_model", lambda *given: models.append(new_model(*given)) or models[-1]
    )
    texts = list(scripts.measure.random_sentences(8, 50))
    setting = scripts.jobs.Setting("lstm-256", "fp32", "cpu", 2, texts, scripts.measure.new_tokenizer(50))
    contenders = scripts.jobs.train(setting).contenders
    runs = [contenders[name]() for name in ("ours", "step")]
    before = tiny.weights(models[0])
    for _ in range(2):
        assert all(run() > 0 for run in runs)
        trained, stepped = map(tiny.weights, models)
        torch.testing.assert_close(trained, stepped)
        assert all(not torch.equal(before[name], tensor) for name, tensor in trained.items())
        before = trained


@pytest.mark.slow
def test_throughput_prints_every_job(scripts, lines, monkeypatch):
    for name, value in {"BATCH": 4, "SAMPLES": 3, "TOKENS": 5}.items():
        monkeypatch.setattr(scripts.jobs, name, value)
    dtype = scripts.measure.dtypes("cpu")[-1]
    only = ("--only", f"*/lstm-256/{dtype}", "--only", "sample/dilated/fp32")
    found = lines("throughput", *only, "--steps", 2, "--rounds", 2, "--threads", 1)
    jobs = ("train", "evaluate", "encode", "sample", "beam")
    names = [(line["job"], line["model"], line["dtype"]) for line in found]
    assert sorted(names) == sorted(
        [*((job, "lstm-256", dtype) for job in jobs), ("sample", "dilated", "fp32")]
    )
    numbers = {"tokens_per_second", "seconds_per_step", "flops", "gemm_flops_per_second", "fraction_of_gemm"}
    for line in found:
        assert all(line[name] > 0 for name in numbers)
        others = {"textbook"} | ({"step", "textbook_on_same_batches"} if line["job"] == "train" else set())
        assert set(line) - numbers - {"job", "model", "dtype", "device", "threads", "peak_mib", "rounds"} == {
            f"ratio_to_{other}" for other in others
        }
        rounds = line["rounds"]
        assert set(rounds) == set(line["peak_mib"]) == {"ours"} | others
        ratios = [textbook / ours for ours, textbook in zip(rounds["ours"], rounds["textbook"], strict=True)]
        assert len(ratios) == 2
        assert line["ratio_to_textbook"] == pytest.approx(mean(ratios), rel=1e-4), (
            "of two, the median is the mean"
        )
    written = {line["job"]: line["tokens_per_second"] * mean(line["rounds"]["ours"]) for line in found}
    assert written["sample"] == pytest.approx(64 * 5, rel=1e-4)
    assert written["beam"] == pytest.approx(16 * 5, rel=1e-4)


def test_throughput_reads_a_corpus(lines, tmp_path):
    file = tmp_path / "corpus.txt"
    file.write_text("\n".join(f"the {noun} sleeps" for noun in "abcdefgh" * 3))
    (line,) = lines(
        "throughput", "--only", "encode/lstm*/fp32", "--steps", 1, "--rounds", 1, "--corpus", file
    )
    assert line["tokens_per_second"] * line["rounds"]["ours"][0] == pytest.approx(32 * 4, rel=1e-4)


def test_an_unknown_name_is_refused(lines, capsys):
    with pytest.raises(SystemExit, match="2"):
        lines("throughput", "--only", "trian/*")
    assert "expected --only to match one of train/lstm-256/fp32, " in capsys.readouterr().err


@pytest.mark.slow
def test_scaling_prints_a_line_for_each_point_and_draws_them(scripts, lines, monkeypatch, tmp_path):
    values = {"batch": (8,), "length": (3,), "vocabulary": (30,), "samples": (4,), "position": (30,)}
    values |= {"stream": (5, 40, 1000), "encode": (40, 1000)}
    axes = {name: replace(axis, values=values[name]) for name, axis in scripts.scaling.AXES.items()}
    monkeypatch.setattr(scripts.scaling, "AXES", axes)
    picture = tmp_path / "scaling.png"
    found = lines("scaling", "--steps", 1, "--rounds", 2, "--largest", 50, "--picture", picture)
    points = {(line["axis"], line["value"]): line for line in found}
    assert set(points) == {(name, value) for name in axes for value in values[name] if value <= 50}
    for line in found:
        assert len(line["rounds"]) == 2
        cost = 1e6 * mean(line["rounds"]) / line["tokens"]
        assert line["microseconds_per_token"] == pytest.approx(cost, rel=1e-4)
        assert {"device", "threads", "peak_mib"} <= set(line)
    assert points["batch", 8]["tokens"] == 8 * 22
    assert points["samples", 4]["tokens"] == 4 * 32 * 22
    assert points["position", 30]["tokens"] == 20 * 64
    assert points["stream", 40]["tokens"] == points["encode", 40]["tokens"] > points["stream", 5]["tokens"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_output_layers_agree_and_are_timed_in_turn(scripts, lines, monkeypatch):
    monkeypatch.setattr(scripts.output_layer, "SIZES", {"ptb-256": (3, 5, 8, 50)})
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    found = lines("output_layer", "--only", "*/ptb-256/*", "--steps", 1, "--rounds", 2, "--threads", 1)
    assert [(line["job"], line["dtype"]) for line in found] == [
        ("train", "fp32"), ("train", "bf16"), ("score", "fp32"), ("score", "bf16")
    ]  # fmt: skip
    assert compiled[0] is scripts.output_layer.logits
    for line in found:
        names = {"ours", "logits", "compiled"} | ({"chunks"} & set(line["nll"]))
        for table in ("milliseconds", "fraction_of_gemm", "peak_mib", "nll"):
            assert set(line[table]) == names
            assert all(value > 0 for value in line[table].values())
        assert set(line["ratio"]) == names - {"ours"}
        expected = pytest.approx(line["nll"]["logits"], rel=1e-5 if line["dtype"] == "fp32" else 0.01)
        assert all(nll == expected for nll in line["nll"].values())


@pytest.mark.parametrize("name", ["ours", "chunks"])
def test_output_layers_have_the_gradients_of_all_logits(scripts, monkeypatch, name):
    monkeypatch.setattr(scripts.output_layer, "SIZES", {"ptb-256": (3, 5, 8, 50)})
    monkeypatch.setattr(torch, "compile", lambda function: function)
    if name not in (candidates := scripts.output_layer.candidates("cpu")):
        pytest.skip("this torch has no chunked cross-entropy")

    def gradients(name):
        given = []
        work = scripts.output_layer.Setting("train", "ptb-256", "fp32", "cpu").work(
            lambda *arguments: given.append(arguments) or candidates[name](*arguments)
        )
        work()
        states, layer, _ = given[0]
        return [tensor.grad for tensor in (states, *layer.parameters())]

    for found, expected in zip(gradients(name), gradients("logits"), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_processes_are_compared():
    options = ("--only", "lstm-256", "--steps", "2", "--rounds", "1", "--processes", "1", "2")
    ended = subprocess.run(
        [sys.executable, FOLDER / "processes.py", *options], capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stderr
    (line,) = map(json.loads, ended.stdout.splitlines())
    assert set(line["tokens_per_second"]) == {"1", "2"}
    one, two = (line["tokens_per_second"][count] for count in "12")
    assert line["speedup"] == {"1": 1, "2": pytest.approx(two / one, rel=1e-4)}
