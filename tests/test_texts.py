import pytest
import tiny
import torch

from textvae.errors import UserError
from textvae.texts import as_list, batches_of, decoding


def test_batches_hold_like_lengths_and_know_their_places():
    rows = tiny.pairs(lengths=(5, 1, 5, 1, 3), source_lengths=(2, 6, 1, 4, 3))
    found = list(batches_of(rows, tiny.collate_pairs, 2, torch.device("cpu"), False, "reading"))
    assert [places for places, _ in found] == [[3, 1], [4, 2], [0]], "by the target, then by the source"
    for places, batch in found:
        for row, place in enumerate(places):
            assert batch.targets[row, : int(batch.lengths[row]) - 1].tolist() == rows[place]["ids"]
            assert batch.source[row, : len(rows[place]["source_ids"])].tolist() == rows[place]["source_ids"]


def test_nothing_has_no_batches():
    assert not list(batches_of([], tiny.collate, 2, torch.device("cpu"), False, "reading"))


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p"])
def test_an_option_of_drawing_implies_it(name):
    assert decoding({name: 0.5})["do_sample"]
    assert not decoding({name: None})["do_sample"]
    assert decoding({name: 0.5, "do_sample": False}) == {name: 0.5, "do_sample": False}


def test_words_are_drawn_from_all_unless_told():
    assert decoding({"do_sample": True})["top_k"] == 0
    assert decoding({"top_k": 7})["top_k"] == 7


def test_what_is_no_string_is_named():
    assert as_list("one") == ["one"]
    with pytest.raises(UserError, match=r"expected strings, got 3 \(int\) at place 1"):
        as_list(["a", 3])
