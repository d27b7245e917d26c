"""BLEU compared with sacreBLEU on all sentences at once, and accuracy of a model that copies."""

from types import SimpleNamespace

import pytest
import tiny
import torch
from sacrebleu.metrics.bleu import BLEU

from textvae.evaluation.meters import reconstruction
from textvae.evaluation.meters.reconstruction import Reconstructions
from textvae.text.tokenizer import decode_rows


@pytest.fixture
def batches():
    return [tiny.batch(5, 6, 7, 6), tiny.batch(4), tiny.batch(9, 5)]


def read(posterior):
    """The part of a batch's bounds that the meter reads."""
    return SimpleNamespace(reading=SimpleNamespace(posterior=posterior))


def measured(meter, model, batches):
    for number, batch in enumerate(batches):
        found = read(model.encode(batch.targets, batch.mask))
        meter.add(meter.measure(model, batch, found, number, torch.Generator()))
    return {quantity.name: quantity.value for quantity in meter.quantities()}


class Copying:
    """A stand-in for a model: copies the first ``share`` of the words, then writes other words."""

    def __init__(self, model, batches, wrong):
        self.model, self.targets, self.wrong = model, [batch.targets for batch in batches], wrong
        self.encode, self.likeliest = model.encode, model.likeliest

    def generate(self, mean, max_new_tokens):
        ids = self.targets.pop(0).clone()
        ids[:, self.wrong] = 4
        return torch.cat([torch.ones(len(ids), 1, dtype=torch.long), ids], 1)


@pytest.mark.parametrize("wrong", [[], [1], [0, 3]], ids=str)
def test_bleu_is_that_of_all_sentences_at_once(batches, wrong):
    model, tokenizer = tiny.model(), tiny.tokenizer()
    found = measured(Reconstructions(tokenizer), Copying(model, batches, wrong), batches)
    references = [text for batch in batches for text in decode_rows(tokenizer, batch.targets.tolist())]
    copies = Copying(model, batches, wrong)
    texts = [text for _ in batches for text in decode_rows(tokenizer, copies.generate(None, 0).tolist())]
    expected = BLEU(force=True).corpus_score(texts, [references])
    assert found["reconstruction_bleu"] == pytest.approx(expected.score)
    assert (found["reconstruction_bleu"] == pytest.approx(100)) is (not wrong)
    assert found["reconstructed_sentences"] == 7
    assert "tok:13a" in found["bleu_signature"]


def test_accuracy_by_hand(batches):
    """The output layer always predicts 7, so it is right where 7 is the token."""
    model = tiny.model()
    with torch.no_grad():
        model.output_layer.linear.weight.zero_()
        model.output_layer.linear.bias.zero_()
        model.output_layer.linear.bias[7] = 1
    found = measured(Reconstructions(tiny.tokenizer()), model, batches)
    words = torch.cat([batch.targets[batch.mask] for batch in batches])
    assert found["token_accuracy"] == pytest.approx(float((words == 7).double().mean()))


@pytest.mark.parametrize(("known", "expected"), [(0, [0, 1, 2]), (12, [0, 4, 8])])
def test_a_part_of_the_batches_stands_for_all(monkeypatch, known, expected):
    """Six of 24 sentences in twelve batches: the first three batches, or every fourth if their number is known."""
    monkeypatch.setattr(reconstruction, "SENTENCES", 6)
    meter, done = Reconstructions(tiny.tokenizer(), known), []
    monkeypatch.setattr(meter, "_reconstruct", lambda model, batch, mean: done.append(mean))
    for number in range(12):
        found = read(SimpleNamespace(mode=number))
        meter.measure(None, tiny.batch(2, 3), found, number, torch.Generator())
    assert done == expected
