import pytest
import tiny
import torch
from datasets import Dataset, DatasetDict
from real import DATA, needs

from textvae.text.batches import (
    Batch,
    Collator,
    LengthGroupedSampler,
    TokenBatchSampler,
    evaluation_loader,
    grouping_lengths,
    tokenize,
)
from textvae.text.tokenizer import train_tokenizer

# ---- Batch


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": None}, "expected inputs, targets, mask and lengths, got no mask"),
        ({"inputs": None, "lengths": None}, "got no inputs, lengths"),
        ({"targets": torch.zeros(2, 9).long()}, r"one shape \(B, T\), got \(2, 4\), \(2, 9\) and \(2, 4\)"),
        ({"lengths": torch.ones(3).long()}, r"expected lengths of shape \(2,\), got \(3,\)"),
        ({"mask": torch.ones(2, 4)}, "expected a boolean mask, got torch.float32"),
        ({"source": torch.ones(2, 3).long()}, r"of one shape \(2, S\), got source of \(2, 3\)"),
        (
            {"source": torch.ones(3, 3).long(), "source_mask": torch.ones(3, 3).bool()},
            r"of one shape \(2, S\), got source of \(3, 3\), source_mask of \(3, 3\)",
        ),
        (
            {"source": torch.ones(2, 3).long(), "source_mask": torch.ones(2, 3)},
            "expected a boolean source_mask, got torch.float32",
        ),
    ],
    ids=["mask", "two", "shape", "lengths", "dtype", "half-a-source", "other-sources", "source-dtype"],
)
def test_a_batch_of_another_form_is_refused(change, message):
    tensors = {
        name: tensor for name, tensor in (dict(tiny.batch(3, 1)) | change).items() if tensor is not None
    }
    with pytest.raises(ValueError, match=message):
        Batch(tensors)


def test_a_batch_moves_as_a_whole():
    moved = tiny.batch().to("meta")
    assert isinstance(moved, Batch)
    assert {tensor.device.type for tensor in moved.values()} == {"meta"}


# ---- Collator


def test_batch_by_hand():
    batch = Collator(pad_id=9, bos_id=1, eos_id=2)([{"ids": [5, 6, 7]}, {"ids": []}, {"ids": [8]}])
    assert batch.inputs.tolist() == [[1, 5, 6, 7], [1, 9, 9, 9], [1, 8, 9, 9]]
    assert batch.targets.tolist() == [[5, 6, 7, 2], [2, 9, 9, 9], [8, 2, 9, 9]]
    assert batch.mask.int().tolist() == [[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]
    assert batch.lengths.tolist() == [4, 1, 2]


def test_special_ids_are_the_tokenizers():
    batch = Collator.for_tokenizer(tiny.tokenizer())([{"ids": [5]}, {"ids": [5, 6]}])
    assert (batch.inputs.tolist(), batch.targets.tolist()) == ([[1, 5, 0], [1, 5, 6]], [[5, 2, 0], [5, 6, 2]])


def test_batch_of_pairs_by_hand():
    collator = Collator(0, 1, 2, source_pad_id=9, source_eos_id=3)
    batch = collator([{"ids": [5], "source_ids": [6, 7]}, {"ids": [5, 6], "source_ids": []}])
    assert batch.targets.tolist() == [[5, 2, 0], [5, 6, 2]]
    assert batch.source.tolist() == [[6, 7, 3], [3, 9, 9]]
    assert batch.source_mask.int().tolist() == [[1, 1, 1], [1, 0, 0]]
    assert collator([{"ids": [], "source_ids": [4]}]).to("meta").source.device.type == "meta"


def test_special_ids_of_pairs_are_the_tokenizers():
    collator = Collator.for_tokenizer(tiny.tokenizer(), source_tokenizer=tiny.tokenizer())
    batch = collator([{"ids": [5], "source_ids": [7, 8]}, {"ids": [6], "source_ids": [9]}])
    assert batch.source.tolist() == [[7, 8, 2], [9, 2, 0]]


def test_pairs_are_grouped_by_both_lengths():
    """By the target's first, and then by the source's, however long that is."""
    rows = Dataset.from_dict(
        {"ids": [[]] * 4, "length": [2, 1, 2, 1], "source_length": [3, 9, 1, 2], "source_ids": [[]] * 4}
    )
    assert grouping_lengths(rows).argsort().tolist() == [3, 1, 2, 0]
    assert grouping_lengths(rows.remove_columns("source_length")).tolist() == [2, 1, 2, 1]


# ---- tokenize


@pytest.mark.parametrize(("limit", "ids"), [(None, [4, 3, 5, 4]), (9, [4, 3, 5, 4]), (3, [4, 3])])
def test_tokens_of_a_sentence(limit, ids):
    """The length counts EOS, and a cut leaves room for it."""
    rows = tokenize(Dataset.from_dict({"text": ["a oops b a"]}), tiny.tokenizer(), maximum_length=limit)
    assert rows[0] == {"ids": ids, "length": len(ids) + 1}


def test_other_columns_and_splits_stay():
    rows = DatasetDict(one=Dataset.from_dict({"text": ["a", "b c"], "label": [3, 4]}))
    tokens = tokenize(rows, tiny.tokenizer())["one"]
    assert tokens.to_dict() == {"label": [3, 4], "ids": [[4], [5, 6]], "length": [2, 3]}


def test_pairs_are_tokenised_each_side_by_its_own():
    source = train_tokenizer(["Q R S"], "words")
    rows = Dataset.from_dict({"source": ["S Q", "R"], "target": ["a b c", "z"], "text": ["x", "y"]})
    made = tokenize(rows, tiny.tokenizer(), source_tokenizer=source, maximum_length=3)
    assert made.to_dict() == {
        "text": ["x", "y"],
        "ids": [[4, 5], [29]],
        "length": [3, 2],
        "source_ids": [[6, 4], [5]],
        "source_length": [3, 2],
    }


def test_a_stream_is_tokenised_as_it_is_read():
    rows = Dataset.from_dict({"sentence": ["a", "b c"]}).to_iterable_dataset()
    tokens = tokenize(rows, tiny.tokenizer(), column="sentence")
    assert [row["ids"] for row in tokens] == [[4], [5, 6]]


# ---- LengthGroupedSampler


@pytest.fixture
def lengths():
    """203 sentences of 2 to 8 tokens."""
    return torch.randint(2, 9, (203,))


def order_of(lengths, epoch=0, seed=0, batch_size=10):
    return list(LengthGroupedSampler(lengths, batch_size, seed=seed, epoch=lambda: epoch))


@pytest.mark.parametrize("batch_size", [1, 10, 203, 500])
def test_every_sentence_comes_once(lengths, batch_size):
    assert sorted(order_of(lengths, batch_size=batch_size)) == list(range(203))


def test_batches_have_nearly_one_length(lengths):
    """Sorted into 20 batches, at most the 6 boundaries between 7 lengths fall into a batch."""
    batches = lengths[order_of(lengths)][:200].view(20, 10)
    spread = batches.amax(1) - batches.amin(1)
    assert (spread > 0).sum() <= 6
    assert (spread > 1).sum() == 0


def test_the_remainder_comes_last_and_has_nearly_one_length(lengths):
    for epoch in range(20):
        remainder = lengths[order_of(lengths, epoch)][200:]
        assert remainder.amax() - remainder.amin() <= 1


def test_the_remainder_is_not_always_of_the_same_length(lengths):
    assert len({int(lengths[order_of(lengths, epoch)][-1]) for epoch in range(30)}) > 3


def test_the_order_is_a_function_of_seed_and_epoch(lengths):
    state = torch.get_rng_state()
    assert order_of(lengths, epoch=3, seed=5) == order_of(lengths, epoch=3, seed=5)
    orders = {tuple(order_of(lengths, epoch, seed)) for epoch in range(4) for seed in range(4)}
    assert len(orders) == 16
    assert torch.equal(torch.get_rng_state(), state), "it takes nothing from the global generator"


def test_batches_come_in_random_order_and_mix_anew(lengths):
    first, second = (torch.tensor(order_of(lengths, epoch))[:200].view(20, 10) for epoch in (0, 1))
    means = lengths[first].double().mean(1)
    assert not torch.equal(means, means.sort().values)
    assert len({frozenset(row.tolist()) for row in first} & {frozenset(row.tolist()) for row in second}) < 3


# ---- TokenBatchSampler


def token_batches(counts, tokens=24, **options):
    return list(TokenBatchSampler(counts, tokens, **options))


@pytest.fixture
def pairs():
    """203 pairs of 2 to 8 tokens and 1 to 11 of the source."""
    return torch.stack([torch.randint(2, 9, (203,)), torch.randint(1, 12, (203,))], 1)


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("tokens", [1, 24, 100, 5000])
def test_token_batches_hold_every_sentence_once_within_their_tokens(pairs, sides, tokens):
    counts = pairs[:, :sides]
    batches = token_batches(counts, tokens)
    assert sorted(row for batch in batches for row in batch) == list(range(203))
    padded = [len(batch) * int(counts[batch].amax(0).sum()) for batch in batches]
    assert all(size <= tokens for size, batch in zip(padded, batches, strict=True) if len(batch) > 1)
    assert len(batches) == len(TokenBatchSampler(counts, tokens))


def test_token_batches_are_full():
    """24 sentences each of 2, 3 and 4 tokens are in batches of 12, 8 and 6."""
    counts = torch.tensor([2, 3, 4]).repeat(24)[:, None]
    assert sorted(map(len, token_batches(counts))) == [6, 6, 6, 6, 8, 8, 8, 12, 12]


@pytest.mark.parametrize("multiple", [2, 3, 7])
def test_the_number_of_token_batches_is_a_multiple(pairs, multiple):
    batches = token_batches(pairs, 60, multiple=multiple)
    assert len(batches) % multiple == 0
    assert len(batches) - len(token_batches(pairs, 60)) < multiple
    assert sorted(row for batch in batches for row in batch) == list(range(203))


def test_the_order_of_token_batches_is_a_function_of_seed_and_epoch(pairs):
    def order(epoch, seed):
        return token_batches(pairs, seed=seed, epoch=lambda: epoch)

    assert order(3, 5) == order(3, 5)
    assert len({str(order(epoch, seed)) for epoch in range(3) for seed in range(3)}) == 9
    assert len({str(sorted(map(len, order(epoch, 0)))) for epoch in range(3)}) == 1


@needs("ptb")
def test_hardly_a_pad_is_computed_on_ptb():
    lines = (DATA / "ptb" / "ptb.train.txt").read_text(encoding="utf-8").splitlines()
    lengths = torch.tensor([len(line.split()) + 1 for line in lines])
    grouped = lengths[order_of(lengths, batch_size=32)].split(32)
    computed = sum(len(part) * int(part.max()) for part in grouped)
    assert 1 - int(lengths.sum()) / computed < 0.03


# ---- evaluation_loader


def test_evaluation_reads_every_sentence_once_those_of_like_length_together():
    dataset = tiny.dataset([5, 1, 7, 1, 5, 7, 3])
    batches = list(evaluation_loader(dataset, tiny.collate, batch_size=2))
    assert [batch.lengths.tolist() for batch in batches] == [[2, 2], [4, 6], [6, 8], [8]]
    read = sorted(
        tuple(row[mask].tolist()) for b in batches for row, mask in zip(b.targets, b.mask, strict=True)
    )
    assert read == sorted((*ids, 2) for ids in dataset["ids"])


def test_evaluation_reads_a_stream_in_its_order():
    stream = tiny.dataset([5, 1, 7]).to_iterable_dataset()
    batches = list(evaluation_loader(stream, tiny.collate, batch_size=2))
    assert [batch.lengths.tolist() for batch in batches] == [[6, 2], [8]]
