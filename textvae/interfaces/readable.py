"""Defaults of decoding that keep written text readable: it has no UNK, and a search does not loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerBase

WORDS, PIECES, CHARACTERS = 4, 5, 16
"""The number of tokens, if they are words, pieces of words or characters, that greedy and beam search do not write
twice in a text. Such a repetition is rare in what people wrote: of captions, dialogue turns, reviews and news, 0 to
0.5 % repeat 4 words, 0.1 to 1.8 % repeat 5 pieces, 0 to 3 % repeat 16 characters. After a minute of training on
captions, 21 of 300 greedy reconstructions looped; one does with 5 pieces."""

AS_IT_IS: dict[str, Any] = {"suppress_tokens": [], "no_repeat_ngram_size": 0}
"""Options for measurements: the text is what the model writes, whether people like to read it or not."""

FEW = 1_000
"""A vocabulary of fewer pieces has mostly characters: all bytes and the letters alone make more than 300."""


def readable(options: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Options that `decoding` completed, with defaults that keep the text readable. Values set by the user are kept.

    UNK is suppressed (``suppress_tokens``). Unless words are sampled, no run of `unrepeated_run` tokens
    occurs twice in a text (``no_repeat_ngram_size``). Sampled words follow the model's distribution over all tokens
    except UNK.

    Args:
        options: options of `GenerationMixin.generate`, with ``do_sample``.
        tokenizer: the tokenizer of the texts.
    """
    ends = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    unknown = tokenizer.unk_token_id
    # In some vocabularies, such as GPT-2's, UNK is also EOS, which must stay possible.
    suppressed = {} if unknown is None or unknown in ends else {"suppress_tokens": [unknown]}
    unrepeated = {} if options["do_sample"] else {"no_repeat_ngram_size": unrepeated_run(tokenizer)}
    return suppressed | unrepeated | dict(options)


def unrepeated_run(tokenizer: PreTrainedTokenizerBase) -> int:
    """The number of tokens that a search must not write twice: `WORDS`, `PIECES` or `CHARACTERS`."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and isinstance(backend.model, WordLevel):
        return WORDS
    return CHARACTERS if len(tokenizer) < FEW else PIECES
