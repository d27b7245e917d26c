"""A tiny translator from capital letters to small letters, which the tests share."""

from string import ascii_uppercase

import tiny
import torch
from flat import nested

from textvae.interfaces.translator import Translator
from textvae.models.seq2seq import Seq2SeqVAEConfig, Seq2SeqVAEModel
from textvae.text.tokenizer import train_tokenizer

SOURCES = ["A B C", "D E F G H", "I", "Q R S T", "Z Y X W V U"]
TARGETS = ["a", "b c d e", "f g", "h i j k l m", "z"]


def sources_tokenizer():
    return train_tokenizer([" ".join(ascii_uppercase[:24] + "YZ")], "words")


def make(**options) -> Translator:
    """A tiny translator from capital letters to small letters, with weights large enough for everything to matter."""
    torch.manual_seed(1)
    sizes = {
        "vocab_size": 30,
        "source_vocab_size": 30,
        "latent_size": 3,
        "embedding_size": 6,
        "hidden_size": 8,
    }
    reach = {"initial_range": 1.0, "initial_embedding_range": 1.0}
    model = Seq2SeqVAEModel(Seq2SeqVAEConfig(**nested(sizes | reach | options))).double().eval()
    return Translator(model, tiny.tokenizer(), sources_tokenizer())
