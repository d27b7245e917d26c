"""The smallest models, batches and corpora that the tests share. They are float64, so that equal means equal."""

from functools import cache
from string import ascii_lowercase

import pytest
import torch
from datasets import Dataset
from flat import nested

from textvae.models.language import TextVAEConfig, TextVAEModel
from textvae.models.seq2seq import Seq2SeqVAEConfig, Seq2SeqVAEModel
from textvae.modules.distributions import Draws
from textvae.objectives.elbo import ELBO
from textvae.support.precision import lstm_in_bf16
from textvae.text.batches import Batch
from textvae.text.fields import Fields, LabelField, SourceField, TargetField, TextField
from textvae.text.tokenizer import train_tokenizer
from textvae.training.arguments import TextVAETrainingArguments
from textvae.training.trainer import TextVAETrainer

needs_bf16 = pytest.mark.skipif(not lstm_in_bf16(), reason="needs a CPU that computes LSTMs in bf16")
VOCABULARY = 30
SOURCE_VOCABULARY = 25
ENCODERS = {
    "lstm": {"encoder_type": "lstm"},
    "lstm-2": {"encoder_type": "lstm", "encoder_layers": 2},
    "lstm-both-ways": {"encoder_type": "lstm", "bidirectional": True},
    "convolution": {"encoder_type": "convolution", "encoder_layers": 2},
    "bag-of-words": {"encoder_type": "bag_of_words", "encoder_layers": 2},
}
DECODERS = {
    "lstm": {"decoder_type": "lstm"},
    "lstm-2": {"decoder_type": "lstm", "decoder_layers": 2},
    "dilated": {"decoder_type": "dilated_convolution", "dilations": "small"},
}


def model(**options) -> TextVAEModel:
    """A model in evaluation mode, with weights large enough for everything to matter."""
    sizes = {"vocab_size": VOCABULARY, "latent_size": 3, "embedding_size": 6, "hidden_size": 8}
    defaults = {"initial_range": 0.5, "initial_embedding_range": 1.0}
    return TextVAEModel(TextVAEConfig(**nested(sizes | defaults | options))).double().eval()


def sentences(lengths=(5, 1, 7, 3), vocabulary=VOCABULARY) -> list[dict[str, list[int]]]:
    """Random sentences of these lengths in words, without special tokens."""
    return [{"ids": torch.randint(4, vocabulary, (length,)).tolist()} for length in lengths]


def collate(rows) -> Batch:
    """The batch of some sentences."""
    return fields(*([LabelField(["a", "b", "c"])] if "label" in rows[0] else [])).collate(rows)


def seq2seq(**options) -> Seq2SeqVAEModel:
    """A conditional model in evaluation mode, with weights large enough for everything to matter."""
    sizes = {"vocab_size": VOCABULARY, "source_vocab_size": SOURCE_VOCABULARY, "latent_size": 3}
    defaults = {"embedding_size": 6, "hidden_size": 8, "initial_range": 0.7, "initial_embedding_range": 1.0}
    return Seq2SeqVAEModel(Seq2SeqVAEConfig(**nested(sizes | defaults | options))).double().eval()


def pairs(lengths=(5, 1, 7, 3), source_lengths=(2, 6, 4, 1)) -> list[dict[str, list[int]]]:
    """Random pairs of a target and a source of these lengths in words."""
    sources = sentences(source_lengths, SOURCE_VOCABULARY)
    targets = sentences(lengths)
    return [target | {"source_ids": source["ids"]} for target, source in zip(targets, sources, strict=True)]


def collate_pairs(rows) -> Batch:
    """The batch of some pairs."""
    return pair_fields().collate(rows)


def batch(*lengths: int) -> Batch:
    """A batch of random sentences of these lengths in words."""
    return collate(sentences(lengths or (5, 1, 7, 3)))


def padded(given: Batch, columns: int) -> Batch:
    """The same sentences with more pads at the end. Any id may stand there, so the pads have ids of words."""
    size = (len(given.inputs), columns)
    words = torch.randint(4, VOCABULARY, size)
    return Batch(
        {
            "inputs": torch.cat([given.inputs, words], 1),
            "targets": torch.cat([given.targets, words], 1),
            "mask": torch.cat([given.mask, torch.zeros(size, dtype=torch.bool)], 1),
            "lengths": given.lengths,
        }
    )


def row(given: Batch, index: int) -> Batch:
    """One sentence of a batch, without its pads."""
    length = int(given.lengths[index])
    part = {name: given[name][index : index + 1, :length] for name in ("inputs", "targets", "mask")}
    return Batch(part | {"lengths": given.lengths[index : index + 1]})


@cache
def tokenizer():
    """A tokenizer of the words a to z, which have the ids 4 to 29."""
    return train_tokenizer([" ".join(ascii_lowercase)], "words")


def fields(*more) -> Fields:
    """The fields of a language model of the words a to z."""
    return Fields([TextField(tokenizer()), *more])


def pair_fields() -> Fields:
    """The fields of a model of pairs of the words a to z."""
    return Fields([TargetField(tokenizer()), SourceField(tokenizer())])


def dataset(lengths, vocabulary=VOCABULARY) -> Dataset:
    """A tokenised data set of random sentences of these lengths in words."""
    ids = [sentence["ids"] for sentence in sentences(lengths, vocabulary)]
    return Dataset.from_dict({"ids": ids, "length": [len(sentence) + 1 for sentence in ids]})


def pair_dataset(count) -> Dataset:
    """A tokenised data set of ``count`` random pairs with one to eight words on each side."""
    rows = pairs(*torch.randint(1, 9, (2, count)).tolist())
    columns = {name: [row[name] for row in rows] for name in ("ids", "source_ids")}
    counts = {
        length: [len(ids) + 1 for ids in columns[name]]
        for name, length in (("ids", "length"), ("source_ids", "source_length"))
    }
    return Dataset.from_dict(columns | counts)


def trainer(folder, *, lengths=None, objective=None, model_options=None, **arguments) -> TextVAETrainer:
    """A trainer of a tiny model on 96 sentences, which evaluates, saves and logs only if it is told to."""
    options = {"dropout": 0.0} | (model_options or {})
    defaults = {
        "eval_strategy": "no",
        "save_strategy": "no",
        "load_best_model_at_end": False,
        "logging_steps": 1,
        "learning_rate": 0.01,
        "lr_scheduler_type": "constant",
        "use_cpu": True,
    }
    torch.manual_seed(0)
    train = dataset(torch.randint(1, 9, (96,)).tolist() if lengths is None else lengths)
    return TextVAETrainer(
        model(**options),
        TextVAETrainingArguments(output_dir=str(folder), **(defaults | arguments)),
        objective or ELBO(),
        fields(),
        train_dataset=train,
        eval_dataset=dataset([3, 1, 5, 4, 2, 6]),
    )


def weights(of: TextVAEModel) -> dict[str, torch.Tensor]:
    """A copy of a model's weights."""
    return {name: tensor.detach().clone() for name, tensor in of.state_dict().items()}


def recorded(patch, place, name) -> list:
    """A list to which each call of the function ``name`` of ``place`` appends its result."""
    function, results = getattr(place, name), []

    def recording(*given, **options):
        results.append(function(*given, **options))
        return results[-1]

    patch.setattr(place, name, recording)
    return results


def without_noise(patch) -> None:
    """Make every model use the posterior mean as z, so that two runs can be equal although they draw differently."""
    patch.setattr(
        ELBO, "draw", lambda self, posterior, samples: Draws(posterior.mean.expand(samples, -1, -1))
    )
