import io
import json
import sys

import numpy as np
import pytest
import tiny
import torch

from textvae.interfaces.text_vae import TextVAE
from textvae.latent_space.fitted_priors import load_prior

LINES = ["a b c", "d e f g h", "i", "", "q r s t", "z y x w v u"]


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(1)
    return TextVAE(tiny.model(initial_range=1.0), tiny.tokenizer())


@pytest.fixture
def trained(vae, tmp_path):
    vae.save_pretrained(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


def typed(monkeypatch, text):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_analogy(textvae, vae, trained):
    expected = vae.analogy("a b", "c", "z z", maximum_length=6)
    assert textvae("analogy", trained, "a b", "c", "z z", "--maximum-length", 6) == (0, f"{expected}\n", "")
    _, out, _ = textvae("analogy", trained, "a b", "c", "z z", "--maximum-length", 6, "--json")
    assert json.loads(out) == expected


def test_traverse(textvae, vae, trained):
    options = ("--dimension", 2, "--steps", 4, "--reach", 1.5, "--maximum-length", 6)
    code, out, err = textvae("traverse", trained, "a b", *options)
    expected = vae.traverse("a b", 2, steps=4, reach=1.5, maximum_length=6)
    assert (code, out.splitlines(), err) == (0, expected, "")
    assert json.loads(textvae("traverse", trained, "a b", *options, "--json")[1]) == expected
    code, out, err = textvae("traverse", trained, "a b", "--dimension", 3)
    assert (code, out) == (2, "")
    assert "expected a dimension from 0 to 2, got 3" in err


def test_fill(textvae, vae, trained, monkeypatch):
    options = ("-n", 3, "--particles", 800, "--seed", 4, "--blank", "_")
    expected = vae.fill("a _ c", "_", 3, 800, seed=4)
    code, out, err = textvae("fill", trained, "a _ c", *options)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"{share:6.1%}  {text}" for text, share in expected]
    rows = [{"text": text, "probability": share} for text, share in expected]
    row = {"fillings": rows, "effective_sample_size": pytest.approx(expected.effective_sample_size)}
    assert json.loads(textvae("fill", trained, "a _ c", *options, "--json")[1]) == row
    typed(monkeypatch, "a _ c\nd e\n")
    found = json.loads(textvae("fill", trained, "-", *options, "--json")[1])
    assert found[0] == row
    assert found[1]["fillings"] == [{"text": "d e", "probability": pytest.approx(1)}]


def test_few_draws_are_remarked(textvae, trained):
    code, out, err = textvae("fill", trained, "a ___ c", "-n", 1, "--particles", 40)
    assert (code, len(out.splitlines()), len(err.splitlines())) == (0, 1, 1)
    assert "a ___ c: expected an effective sample size of 100 or more, got" in err
    assert "from 40 particles" in err


def test_neighbours(textvae, vae, trained, file, tmp_path, monkeypatch):
    options = ("-k", 2, "--metric", "euclidean")
    rows, distances = vae.neighbours("d e f", LINES, 2, metric="euclidean")
    expected = [
        {"text": LINES[row], "line": row + 1, "distance": pytest.approx(distance)}
        for row, distance in zip(rows[0].tolist(), distances[0].tolist(), strict=True)
    ]
    code, out, err = textvae("neighbours", trained, "d e f", file, *options, "--json")
    assert (code, json.loads(out), err) == (0, expected, "")
    _, out, _ = textvae("neighbours", trained, "d e f", file, *options)
    assert out.splitlines() == [
        f"{d:8.4f}  {LINES[row]}" for row, d in zip(rows[0], distances[0], strict=True)
    ]
    np.save(tmp_path / "z.npy", vae.encode(LINES))
    typed(monkeypatch, "d e f\n")
    _, out, _ = textvae("neighbours", trained, "-", file, *options, "--json", "--vectors", tmp_path / "z.npy")
    assert json.loads(out) == [expected]


def test_long_neighbours_are_shortened(textvae, trained, tmp_path):
    long = " ".join("b" * 300)
    (tmp_path / "long.txt").write_text(f"{long}\n")
    _, out, _ = textvae("neighbours", trained, "b", tmp_path / "long.txt")
    assert out[10:] == f"{long[:397]} …\n"
    _, out, _ = textvae("neighbours", trained, "b", tmp_path / "long.txt", "--json")
    assert json.loads(out)[0]["text"] == long


def test_vectors_of_another_file_are_refused(textvae, vae, trained, file, tmp_path):
    np.save(tmp_path / "z.npy", vae.encode(LINES[:3]))
    code, _, err = textvae("neighbours", trained, "a", file, "--vectors", tmp_path / "z.npy")
    assert code == 2
    assert "expected 6 vectors, one for each line, got 3 in" in err
    code, _, err = textvae("neighbours", trained, "a", file, "--vectors", file)
    assert code == 2
    assert "expected a .npy file of vectors, got" in err


def test_a_fitted_prior_is_kept_in_the_run_and_sampled_from(textvae, vae, trained, file):
    options = ("--components", 2, "--name", "mine", "--seed", 1)
    written = trained / "priors" / "mine.safetensors"
    assert textvae("fit-prior", trained, file, *options) == (0, f"written: {written}\n", "")
    prior = load_prior(trained, "mine")
    assert torch.equal(prior.means, vae.fit_prior(LINES, components=2, seed=1).means)
    sampling = ("--seed", 5, "--maximum-length", 6, "--json")
    _, out, _ = textvae("sample", trained, "-n", 3, "--prior", "mine", *sampling)
    assert json.loads(out) == vae.sample(3, prior=prior, seed=5, maximum_length=6)
    code, _, err = textvae("sample", trained, "--prior", "yours")
    assert code == 2
    assert "found no 'yours': it has mine" in err


def test_interpolate_with_scores(textvae, vae, trained):
    arguments = ("interpolate", trained, "a b", "z", "--steps", 3, "--maximum-length", 6, "--scores")
    texts = vae.interpolate("a b", "z", steps=3, maximum_length=6)
    scores = vae.score(texts, vae.path_between("a b", "z", steps=3))
    code, out, err = textvae(*arguments)
    assert (code, err) == (0, "")
    lines = [f"{score:19.2f}  {text}" for text, score in zip(texts, scores, strict=True)]
    assert out.splitlines() == ["log p(x | z), nats", *lines]
    rows = json.loads(textvae(*arguments, "--json")[1])
    assert [row["text"] for row in rows] == texts
    np.testing.assert_allclose([row["log_likelihood"] for row in rows], scores)
