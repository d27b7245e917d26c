import pytest
import tiny
import torch

from textvae.interfaces import batching
from textvae.interfaces.batching import at_once, batches_of, decoding


def with_lengths(rows):
    """The rows as `Fields.prepare` makes them, with their lengths in tokens, EOS included."""
    counted = {"length": "ids", "source_length": "source_ids"}
    return [row | {name: len(row[ids]) + 1 for name, ids in counted.items()} for row in rows]


def test_batches_hold_like_lengths_and_know_their_places():
    rows = with_lengths(tiny.pairs(lengths=(5, 1, 5, 1, 3), source_lengths=(2, 6, 1, 4, 3)))
    found = list(batches_of(rows, tiny.pair_fields(), 2, torch.device("cpu"), False, "reading"))
    assert [places for places, _ in found] == [[3, 1], [4, 2], [0]], "by the target, then by the source"
    for places, batch in found:
        for row, place in enumerate(places):
            assert batch.targets[row, : int(batch.lengths[row]) - 1].tolist() == rows[place]["ids"]
            assert batch.source[row, : len(rows[place]["source_ids"])].tolist() == rows[place]["source_ids"]


def test_without_a_size_a_batch_has_so_many_tokens(monkeypatch):
    """Padding, EOS and sources count as tokens. A row longer than the limit is a batch of its own."""
    monkeypatch.setattr(batching, "TOKENS", 12)
    rows = with_lengths(tiny.pairs(lengths=(5, 1, 2, 1, 30), source_lengths=(4, 2, 2, 1, 3)))
    found = [
        places for places, _ in batches_of(rows, tiny.pair_fields(), None, torch.device("cpu"), False, "")
    ]
    assert found == [[3, 1], [2], [0], [4]]
    assert at_once(5) == 51
    assert at_once(1_000) == 1


def test_nothing_has_no_batches():
    assert not list(batches_of([], tiny.fields(), 2, torch.device("cpu"), False, "reading"))


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p"])
def test_an_option_of_drawing_implies_it(name):
    assert decoding({name: 0.5})["do_sample"]
    assert not decoding({name: None})["do_sample"]
    assert decoding({name: 0.5, "do_sample": False}) == {name: 0.5, "do_sample": False}


def test_words_are_drawn_from_all_unless_told():
    assert decoding({"do_sample": True})["top_k"] == 0
    assert decoding({"top_k": 7})["top_k"] == 7
