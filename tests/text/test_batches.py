import pytest
import tiny
import torch

from textvae.text.batches import Batch, padded


def words(rows, columns):
    return torch.zeros(rows, columns).long()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"targets": words(2, 9)},
            r"inputs and targets and mask of the same shape, got \(2, 4\) and \(2, 9\) and \(2, 4\)",
        ),
        ({"lengths": words(3, 1)[:, 0]}, r"with the same number of rows, got .*, lengths of \(3,\)"),
        ({"mask": torch.ones(2, 4)}, "expected a boolean mask, got torch.float32"),
        (
            {"source": words(2, 3), "source_mask": torch.ones(2, 5).bool()},
            r"source and source_mask of the same shape, got \(2, 3\) and \(2, 5\)",
        ),
        (
            {"source": words(3, 3), "source_mask": torch.ones(3, 3).bool()},
            r"with the same number of rows, got .*, source of \(3, 3\), source_mask of \(3, 3\)",
        ),
        (
            {"source": words(2, 3), "source_mask": torch.ones(2, 3)},
            "expected a boolean source_mask, got torch.float32",
        ),
    ],
    ids=["shape", "lengths", "dtype", "source-shape", "other-sources", "source-dtype"],
)
def test_a_batch_of_another_form_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Batch(dict(tiny.batch(3, 1)) | change)


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="expected at least one tensor, got none"):
        Batch({})


def test_a_tensor_that_is_not_there_is_named():
    batch = tiny.batch()
    with pytest.raises(AttributeError, match="a batch of inputs, targets, mask, lengths has no source"):
        _ = batch.source
    assert not hasattr(batch, "labels")


def test_a_batch_moves_as_a_whole():
    moved = tiny.batch().to("meta")
    assert isinstance(moved, Batch)
    assert {tensor.device.type for tensor in moved.values()} == {"meta"}


def test_a_batch_knows_how_much_is_in_it():
    batch = tiny.batch(5, 1, 7)
    assert (batch.size, batch.tokens, batch.width) == (3, 6 + 2 + 8, 3 * 8)
    other = Batch({"pixels": torch.zeros(3, 4)})
    assert (other.size, other.tokens, other.width) == (3, 3, 3), "without lengths, the examples are counted"


def test_rows_of_any_length_are_padded():
    ids, mask = padded([[5, 6], [], [7]], 9)
    assert ids.tolist() == [[5, 6], [9, 9], [7, 9]]
    assert mask.int().tolist() == [[1, 1], [0, 0], [1, 0]]
