"""Tests of the text fields: from sentences and pairs to ids, and from ids to batches."""

from types import SimpleNamespace

import pytest
import tiny
from datasets import Dataset, DatasetDict

from textvae.text.fields import Fields, SourceField, TargetField, TextField
from textvae.text.tokenizer import train_tokenizer

# ---- collate


def special(pad, bos, eos):
    """Replaces a tokenizer: batches need only these special ids of it."""
    return SimpleNamespace(pad_token_id=pad, bos_token_id=bos, eos_token_id=eos)


def test_batch_by_hand():
    batch = Fields([TextField(special(9, 1, 2))]).collate([{"ids": [5, 6, 7]}, {"ids": []}, {"ids": [8]}])
    assert batch.inputs.tolist() == [[1, 5, 6, 7], [1, 9, 9, 9], [1, 8, 9, 9]]
    assert batch.targets.tolist() == [[5, 6, 7, 2], [2, 9, 9, 9], [8, 2, 9, 9]]
    assert batch.mask.int().tolist() == [[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]
    assert batch.lengths.tolist() == [4, 1, 2]


def test_special_ids_are_the_tokenizers():
    batch = tiny.fields().collate([{"ids": [5]}, {"ids": [5, 6]}])
    assert (batch.inputs.tolist(), batch.targets.tolist()) == ([[1, 5, 0], [1, 5, 6]], [[5, 2, 0], [5, 6, 2]])


def test_batch_of_pairs_by_hand():
    fields = Fields([TargetField(special(0, 1, 2)), SourceField(special(9, None, 3))])
    batch = fields.collate([{"ids": [5], "source_ids": [6, 7]}, {"ids": [5, 6], "source_ids": []}])
    assert batch.targets.tolist() == [[5, 2, 0], [5, 6, 2]]
    assert batch.source.tolist() == [[6, 7, 3], [3, 9, 9]]
    assert batch.source_mask.int().tolist() == [[1, 1, 1], [1, 0, 0]]
    assert fields.collate([{"ids": [], "source_ids": [4]}]).to("meta").source.device.type == "meta"


def test_special_ids_of_pairs_are_the_tokenizers():
    rows = [{"ids": [5], "source_ids": [7, 8]}, {"ids": [6], "source_ids": [9]}]
    assert tiny.pair_fields().collate(rows).source.tolist() == [[7, 8, 2], [9, 2, 0]]


# ---- prepare


@pytest.mark.parametrize(("limit", "ids"), [(None, [4, 3, 5, 4]), (9, [4, 3, 5, 4]), (3, [4, 3])])
def test_tokens_of_a_sentence(limit, ids):
    """The length includes EOS, and so does the maximum length."""
    rows = Fields([TextField(tiny.tokenizer(), limit)]).prepare(Dataset.from_dict({"text": ["a oops b a"]}))
    assert rows[0] == {"ids": ids, "length": len(ids) + 1, "cut": 4 - len(ids)}


def test_other_columns_and_splits_stay():
    rows = DatasetDict(one=Dataset.from_dict({"text": ["a", "b c"], "label": [3, 4]}))
    tokens = tiny.fields().prepare(rows)["one"]
    assert tokens.to_dict() == {"label": [3, 4], "ids": [[4], [5, 6]], "length": [2, 3], "cut": [0, 0]}


def test_pairs_are_tokenised_each_side_by_its_own():
    source = train_tokenizer(["Q R S"], "words")
    rows = Dataset.from_dict({"source": ["S Q", "R"], "target": ["a b c", "z"], "text": ["x", "y"]})
    made = Fields([TargetField(tiny.tokenizer(), 3), SourceField(source, 3)]).prepare(rows)
    assert made.to_dict() == {
        "text": ["x", "y"],
        "ids": [[4, 5], [29]],
        "length": [3, 2],
        "cut": [1, 0],
        "source_ids": [[6, 4], [5]],
        "source_length": [3, 2],
        "source_cut": [0, 0],
    }


@pytest.mark.parametrize(
    ("limit", "losses"),
    [
        (None, []),
        (5, []),
        (
            4,
            [
                "1 of 3 texts (text) are longer than tokenizer.maximum_length, 4, and are cut there: 10.0 % of the "
                "tokens are not read"
            ],
        ),
        (
            2,
            [
                "2 of 3 texts (text) are longer than tokenizer.maximum_length, 2, and are cut there: 40.0 % of the "
                "tokens are not read"
            ],
        ),
    ],
)
def test_what_is_cut_is_counted(limit, losses):
    """There are 10 tokens, including three EOS."""
    fields = Fields([TextField(tiny.tokenizer(), limit)])
    rows = Dataset.from_dict({"text": ["a b c d", "a b", "z"]})
    prepared = fields.prepare(rows)
    assert fields.losses(prepared) == losses
    assert fields.cuts(prepared) is bool(losses)
    assert fields.losses(fields.prepare(rows.to_iterable_dataset())) == []


def test_a_stream_is_tokenised_as_it_is_read():
    rows = Dataset.from_dict({"text": ["a", "b c"]}).to_iterable_dataset()
    assert [row["ids"] for row in tiny.fields().prepare(rows)] == [[4], [5, 6]]
