"""Tests of the samplers: sentences of similar length are together, and each sentence occurs once."""

import pytest
import tiny
import torch
from datasets import Dataset
from real import DATA, needs

from textvae.text.samplers import (
    LengthGroupedSampler,
    TokenBatchSampler,
    evaluation_loader,
    grouping_lengths,
    token_counts,
)

# ---- lengths


def test_pairs_are_grouped_by_both_lengths():
    """Pairs are sorted by the target's length first and then by the source's, whatever its size."""
    rows = Dataset.from_dict({"length": [2, 1, 2, 1], "source_length": [3, 9, 1, 2]})
    assert tiny.pair_fields().length_columns == ["length", "source_length"]
    assert grouping_lengths(rows, ["length", "source_length"]).argsort().tolist() == [3, 1, 2, 0]
    assert grouping_lengths(rows, ["length"]).tolist() == [2, 1, 2, 1]


def test_what_has_no_length_counts_one():
    assert token_counts(Dataset.from_dict({"pixels": [[0], [1]]}), []).tolist() == [[1], [1]]


# ---- LengthGroupedSampler


@pytest.fixture
def lengths():
    """The lengths of 203 sentences, 2 to 8 tokens."""
    return torch.randint(2, 9, (203,))


def order_of(lengths, epoch=0, seed=0, batch_size=10):
    return list(LengthGroupedSampler(lengths, batch_size, seed=seed, epoch=lambda: epoch))


@pytest.mark.parametrize("batch_size", [1, 10, 203, 500])
def test_every_sentence_comes_once(lengths, batch_size):
    assert sorted(order_of(lengths, batch_size=batch_size)) == list(range(203))


def test_batches_have_nearly_one_length(lengths):
    """There are 7 lengths, so at most 6 of the 20 batches contain a boundary between two of them."""
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
    """The lengths of 203 pairs: 2 to 8 target tokens and 1 to 11 source tokens."""
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
    """24 sentences of 2, 24 of 3 and 24 of 4 tokens are in batches of 12, 8 and 6 sentences."""
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
    batches = list(evaluation_loader(dataset, tiny.fields(), batch_size=2))
    assert [batch.lengths.tolist() for batch in batches] == [[2, 2], [4, 6], [6, 8], [8]]
    read = sorted(
        tuple(row[mask].tolist()) for b in batches for row, mask in zip(b.targets, b.mask, strict=True)
    )
    assert read == sorted((*ids, 2) for ids in dataset["ids"])


def test_evaluation_takes_nothing_from_the_global_generator():
    dataset = tiny.dataset([5, 1, 7])
    state = torch.get_rng_state()
    for rows in (dataset, dataset.to_iterable_dataset()):
        assert len(list(evaluation_loader(rows, tiny.fields()))) == 1
    assert torch.equal(torch.get_rng_state(), state)


def test_evaluation_reads_a_stream_in_its_order():
    stream = tiny.dataset([5, 1, 7]).to_iterable_dataset()
    batches = list(evaluation_loader(stream, tiny.fields(), batch_size=2))
    assert [batch.lengths.tolist() for batch in batches] == [[6, 2], [8]]
