"""Token ids become tensors: the only place that shifts, pads or counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from transformers import PreTrainedTokenizerBase

AnyDataset = TypeVar("AnyDataset", Dataset, DatasetDict, IterableDataset, IterableDatasetDict)


class Batch(dict[str, Tensor]):
    """A batch of B sentences, right-padded to T tokens.

    It is a dict, so that ``model(**batch)`` works and every data loader can move it to a device.

    Keys:
        inputs: what the decoder reads, BOS x_1 … x_{n-1}, ids of shape (B, T).
        targets: what the decoder predicts and the encoder reads, x_1 … x_{n-1} EOS, ids of shape (B, T).
        mask: True on real tokens, shape (B, T).
        lengths: number of real tokens of each sentence, EOS counted and BOS not, shape (B,).
        labels: the class of each sentence, -1 where it is not known, shape (B,); only for models with classes.

    Raises:
        ValueError: if a key is missing, or a dtype or shape is not as above.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        if missing := {"inputs", "targets", "mask", "lengths"} - self.keys():
            raise ValueError(
                f"expected inputs, targets, mask and lengths, got no {', '.join(sorted(missing))}"
            )
        if not self.inputs.shape == self.targets.shape == self.mask.shape:
            raise ValueError(
                f"expected inputs, targets and mask of one shape (B, T), got {tuple(self.inputs.shape)}, "
                f"{tuple(self.targets.shape)} and {tuple(self.mask.shape)}"
            )
        for name in {"lengths", "labels"} & self.keys():
            if self[name].shape != self.inputs.shape[:1]:
                raise ValueError(
                    f"expected {name} of shape ({len(self.inputs)},), got {tuple(self[name].shape)}"
                )
        if self.mask.dtype != torch.bool:
            raise ValueError(f"expected a boolean mask, got {self.mask.dtype}")

    @property
    def inputs(self) -> Tensor:
        """Decoder inputs, (B, T)."""
        return self["inputs"]

    @property
    def targets(self) -> Tensor:
        """Shifted targets, (B, T)."""
        return self["targets"]

    @property
    def mask(self) -> Tensor:
        """True on real tokens, (B, T)."""
        return self["mask"]

    @property
    def lengths(self) -> Tensor:
        """Tokens of each sentence, (B,)."""
        return self["lengths"]

    def to(self, device: torch.device | str, **options: Any) -> Batch:
        """The same batch on ``device``."""
        return Batch({name: tensor.to(device, **options) for name, tensor in self.items()})


class Collator:
    """Turns sentences, given as ids without BOS and EOS, into a `Batch`.

    Args:
        pad_id: written behind the end of short sentences; any id does, since it is masked.
        bos_id: the first decoder input.
        eos_id: the last target.
        labels: whether the examples' ``label``, which may be None, goes into the batch.

    Example:
        >>> batch = Collator(pad_id=0, bos_id=1, eos_id=2)([{"ids": [5, 6]}, {"ids": [7]}])
        >>> batch.inputs
        tensor([[1, 5, 6],
                [1, 7, 0]])
        >>> batch.targets
        tensor([[5, 6, 2],
                [7, 2, 0]])
        >>> batch.lengths
        tensor([3, 2])
    """

    def __init__(self, pad_id: int, bos_id: int, eos_id: int, labels: bool = False) -> None:
        self.pad_id, self.bos_id, self.eos_id, self.labels = pad_id, bos_id, eos_id, labels

    @classmethod
    def for_tokenizer(cls, tokenizer: PreTrainedTokenizerBase, labels: bool = False) -> Collator:
        """The collator that uses the special ids of ``tokenizer``."""
        return cls(tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, labels)

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> Batch:
        """Batch ``examples``, each with a list ``ids``."""
        sentences = [list(example["ids"]) for example in examples]
        lengths = torch.tensor([len(ids) + 1 for ids in sentences])
        width = int(lengths.max())
        inputs = torch.full((len(sentences), width), self.pad_id)
        targets = torch.full((len(sentences), width), self.pad_id)
        for row, ids in enumerate(sentences):
            inputs[row, : len(ids) + 1] = torch.tensor([self.bos_id, *ids])
            targets[row, : len(ids) + 1] = torch.tensor([*ids, self.eos_id])
        mask = torch.arange(width) < lengths[:, None]
        batch = {"inputs": inputs, "targets": targets, "mask": mask, "lengths": lengths}
        if self.labels:
            labels = [example.get("label") for example in examples]
            batch["labels"] = torch.tensor([-1 if label is None else label for label in labels])
        return Batch(batch)


def tokenize(
    dataset: AnyDataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    column: str = "text",
    maximum_length: int | None = None,
) -> AnyDataset:
    """The data set with the columns ``ids`` (no BOS, no EOS) and ``length`` (EOS counted) in place of its text.

    The result is memory-mapped and cached by ``datasets``; a streamed data set is tokenised as it is read.

    Args:
        dataset: a data set, or a dict of them, with a column of strings.
        tokenizer: what splits the strings.
        column: the column to read.
        maximum_length: longer sentences are cut to so many tokens, EOS counted; None: never.
    """
    limit = None if maximum_length is None else maximum_length - 1

    def ids_of(rows: dict[str, list[str]]) -> dict[str, list[Any]]:
        # Not verbose, or the tokenizer would warn of what is cut here.
        found = tokenizer(rows[column], add_special_tokens=False, verbose=False)["input_ids"]
        ids = [sentence[:limit] for sentence in found]
        return {"ids": ids, "length": [len(sentence) + 1 for sentence in ids]}

    return dataset.map(ids_of, batched=True, remove_columns=[column])


class LengthGroupedSampler(Sampler[int]):
    """Indices such that each run of ``batch_size`` of them has (nearly) one length, in random order.

    Every epoch shuffles the data, sorts it stably by length, cuts it into batches and shuffles the batches. So
    sentences of one length are mixed anew each epoch, as in the published set-ups, and hardly a pad is computed.

    Args:
        lengths: tokens of each sentence, shape (N,).
        batch_size: how many consecutive indices make one optimiser step, over all processes and accumulation.
        seed: with the epoch, decides the order, so that a resumed run needs no further state.
        epoch: tells the current epoch.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, *, seed: int = 0, epoch: Callable[[], int] = lambda: 0
    ) -> None:
        self.lengths = torch.as_tensor(lengths)
        self.batch_size, self.seed, self.epoch = batch_size, seed, epoch

    def __len__(self) -> int:
        """Number of sentences."""
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """The indices of one epoch."""
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.epoch())
        order = torch.randperm(len(self), generator=generator)
        order = order[torch.argsort(self.lengths[order], stable=True)]
        # The remainder comes last, or the batches behind it would straddle two lengths; it is cut out of a random
        # place, so that it is not always the longest sentences.
        batches, remainder = divmod(len(self), self.batch_size)
        cut = self.batch_size * int(torch.randint(batches + 1, (), generator=generator))
        grouped = torch.cat([order[:cut], order[cut + remainder :]]).view(batches, self.batch_size)
        yield from grouped[torch.randperm(batches, generator=generator)].flatten().tolist()
        yield from order[cut : cut + remainder].tolist()


def evaluation_loader(
    dataset: Dataset | IterableDataset, collator: Collator, batch_size: int = 32
) -> DataLoader:
    """Every sentence of a tokenised data set once, those of like length together where the lengths are known.

    Args:
        dataset: with the columns that `tokenize` makes.
        collator: what makes the batches.
        batch_size: sentences at once.
    """
    if isinstance(dataset, Dataset):
        order = torch.argsort(torch.as_tensor(dataset["length"]), stable=True).tolist()
        return DataLoader(dataset, batch_size, sampler=order, collate_fn=collator)
    return DataLoader(dataset, batch_size, collate_fn=collator)
