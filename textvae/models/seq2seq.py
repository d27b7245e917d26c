"""The sequence-to-sequence VAE and, with an empty z, the attentional encoder-decoder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from transformers import AutoConfig, AutoModel, PretrainedConfig

from textvae.errors import UserError
from textvae.models.base import VAEModel, check_choices
from textvae.models.generation import ConditionalLanguageModel
from textvae.models.outputs import Reading, VAEOutput
from textvae.modules.attention import AdditiveAttention, DotAttention, GeneralAttention, Source
from textvae.modules.attentive_decoder import AttentiveDecoder
from textvae.modules.conditional_latents import (
    AttentionLatent,
    Choice,
    SentenceLatent,
    StepLatent,
    along,
)
from textvae.modules.latents import sample
from textvae.modules.output_layer import BagOfWords
from textvae.modules.source_encoders import LSTMStates, TransformerStates
from textvae.text.batches import Batch

Latent = Literal["mean", "sample", "zero", "shuffled"]
"""What z generation takes: its distribution's mean or a draw, 0, or the mean of the sentence before in the batch."""


class Seq2SeqVAEConfig(PretrainedConfig):
    """Sizes and choices of a `Seq2SeqVAEModel`.

    Attributes:
        vocab_size: number of target tokens, set from the tokenizer.
        source_vocab_size: number of source tokens, set from the sources' tokenizer.
        latent_type: whether there is one z a pair (`SentenceLatent`), one that is the context of each step
            (`AttentionLatent`), or one at each step beside the context (`StepLatent`).
        latent_size: Z; 0 is the model without z.
        prior_type: whether the prior is N(0, I) or depends on the source, see the latent.
        embedding_size: size of the word vectors of both sides.
        hidden_size: D of the encoders and the decoder.
        encoder_type: what reads the source and, for the posterior, the target.
        encoder_layers: LSTM layers or transformer blocks of each.
        attention_type: how the decoder's states score those of the source.
        decoder_layers: LSTM layers of the decoder.
        dropout: on the word vectors of source and decoder, in the source's encoder, and on the decoder's output states.
        word_dropout: how many of the decoder's input words become UNK in training.
        tie_word_embeddings: the output layer's weight is the decoder's word vectors (Press & Wolf 2017).
        share_embeddings: source and target have the same word vectors, and so one vocabulary.
        bag_of_words: with a second decoder of the words in no order (`BagOfWords`), whose loss helps in training; for
            one z a pair.
        initial_range: weights are drawn from U(-r, r); None leaves torch's defaults. With smaller weights and word
            vectors the decoder hardly sees the source for the first hundreds of steps.
        initial_embedding_range: the same for the word vectors.

    Raises:
        UserError: if a choice is not one of those listed, a dropout is not from 0 to 1, or two do not fit.
    """

    model_type = "textvae-seq2seq"

    vocab_size: int = 0
    source_vocab_size: int = 0
    latent_type: Literal["sentence", "attention", "step"] = "sentence"
    latent_size: int = 32
    prior_type: Literal["standard_normal", "source"] = "source"
    embedding_size: int = 256
    hidden_size: int = 256
    encoder_type: Literal["lstm", "transformer"] = "lstm"
    encoder_layers: int = 1
    attention_type: Literal["additive", "general", "dot"] = "general"
    decoder_layers: int = 1
    dropout: float = 0.5
    word_dropout: float = 0.0
    tie_word_embeddings: bool = False
    share_embeddings: bool = False
    bag_of_words: bool = False
    initial_range: float | None = 0.1
    initial_embedding_range: float = 0.5
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | None = 2
    unk_token_id: int | None = 3

    def __post_init__(self, **kwargs: Any) -> None:
        check_choices(self, Seq2SeqVAEConfig)
        if self.bag_of_words and self.latent_type != "sentence":
            raise UserError(
                f"expected bag_of_words with latent_type sentence, got {self.latent_type}: leave one of them out"
            )
        if self.share_embeddings and self.source_vocab_size != self.vocab_size:
            raise UserError(
                "expected one vocabulary of both sides for share_embeddings, got "
                f"{self.source_vocab_size} source and {self.vocab_size} target tokens: train a joint tokenizer"
            )
        super().__post_init__(**kwargs)


AnyLatent = SentenceLatent | AttentionLatent | StepLatent
AnyEncoder = LSTMStates | TransformerStates

LATENTS: dict[str, Callable[..., AnyLatent]] = {
    "sentence": SentenceLatent,
    "attention": AttentionLatent,
    "step": StepLatent,
}
ENCODERS: dict[str, Callable[..., AnyEncoder]] = {"lstm": LSTMStates, "transformer": TransformerStates}
ATTENTIONS = {"additive": AdditiveAttention, "general": GeneralAttention, "dot": DotAttention}


def _build_latent(config: Seq2SeqVAEConfig) -> AnyLatent:
    # Of no dimensions, all three would be the same.
    kind = LATENTS[config.latent_type] if config.latent_size else SentenceLatent
    return kind(config.hidden_size, config.latent_size, config.prior_type == "source")


def _build_encoder(config: Seq2SeqVAEConfig, dropout: float) -> AnyEncoder:
    return ENCODERS[config.encoder_type](
        embedding_size=config.embedding_size,
        hidden_size=config.hidden_size,
        layers=config.encoder_layers,
        dropout=dropout,
    )


class Seq2SeqVAEModel(VAEModel):
    """A variational encoder-decoder, p(y | x) = E[p(y | x, z)] over p(z | x).

        states of x = encoder(x)
        z ~ p(z | x)                                          prior
        y_t ~ softmax(W decoder(y_<t, z, states of x) + b)    decoder, with attention
        q(z | x, y)                                           posterior, of the states of x and those of y

    With ``latent_size=0`` z is empty: the same code is the attentional encoder-decoder, and its bounds are exact.
    """

    config_class = Seq2SeqVAEConfig
    shared_fields = (
        "vocab_size",
        "source_vocab_size",
        "embedding_size",
        "hidden_size",
        "encoder_type",
        "encoder_layers",
        "attention_type",
        "decoder_layers",
        "tie_word_embeddings",
        "share_embeddings",
    )
    latent_fields = ("latent_type", "latent_size", "prior_type")

    def __init__(self, config: Seq2SeqVAEConfig) -> None:
        super().__init__(config)
        if config.source_vocab_size <= 0:
            raise UserError(
                f"expected a positive source_vocab_size, got {config.source_vocab_size}: set it from the "
                "sources' tokenizer"
            )
        self.source_embedding = (
            None if config.share_embeddings else nn.Embedding(config.source_vocab_size, config.embedding_size)
        )
        self.encoder = _build_encoder(config, config.dropout)
        self.latent = _build_latent(config)
        self.target_encoder = _build_encoder(config, 0.0) if self.latent.reads_target else None
        self.decoder = AttentiveDecoder(
            vocabulary_size=config.vocab_size,
            embedding_size=config.embedding_size,
            hidden_size=config.hidden_size,
            latent_size=self.latent.beside_words,
            attention=ATTENTIONS[config.attention_type](config.hidden_size),
            beside=self.latent.beside_states,
            layers=config.decoder_layers,
            dropout=config.dropout,
        )
        self.output_layer = self._build_output_layer(self.decoder.output_size)
        self.bag_of_words = (
            BagOfWords(config.latent_size, config.hidden_size, config.vocab_size)
            if config.bag_of_words and config.latent_size
            else None
        )
        self.post_init()

    def start_from(self, source: Seq2SeqVAEModel) -> None:
        """See `VAEModel`. Where z takes the place of the contexts of a model without z, they are its mean.

        Raises:
            UserError: if the models differ in more than z, or if such a z is not as large as the contexts.
        """
        contexts = None if source.config.latent_size else self.latent
        if not isinstance(contexts, AttentionLatent):
            super().start_from(source)
            return
        if self.config.latent_size != self.config.hidden_size:
            raise UserError(
                "expected latent_size to be hidden_size where z starts as the context, got "
                f"{self.config.latent_size} and {self.config.hidden_size}: change one of them"
            )
        super().start_from(source)
        contexts.start_as_context()

    def encode(self, source: Tensor, source_mask: Tensor) -> Source:
        """The sources as the decoder sees them.

        Args:
            source: with EOS, (B, S).
            source_mask: True on real tokens, (B, S).
        """
        embedding = self.source_embedding or self.decoder.embedding
        return self.decoder.attention.source(self.encoder(embedding(source), source_mask), source_mask)

    def read(
        self, inputs: Tensor, targets: Tensor, mask: Tensor, source: Tensor, source_mask: Tensor
    ) -> Reading:
        """Posterior, prior and likelihood of the targets, given their sources.

        Args:
            inputs: decoder inputs, (B, T).
            targets: shifted targets, (B, T).
            mask: True on real tokens, (B, T).
            source: with EOS, (B, S).
            source_mask: True on real tokens, (B, S).
        """
        inputs = self._dropped(inputs, mask)
        posterior, prior, states_of = self._find(inputs, targets, mask, self.encode(source, source_mask))
        return Reading(
            posterior, prior, lambda z: self.output_layer.log_likelihood(states_of(z), targets, mask)
        )

    def _find(
        self, inputs: Tensor, targets: Tensor, mask: Tensor, source: Source
    ) -> tuple[Distribution, Distribution, Callable[[Tensor], Tensor]]:
        """Posterior, prior, and what makes decoder states of z."""
        target = None
        if self.target_encoder is not None:
            target = self.target_encoder(self.decoder.embedding(targets), mask)
        return self.latent(self.decoder, inputs, mask, source, target)

    def forward(
        self,
        inputs: Tensor,
        targets: Tensor,
        mask: Tensor,
        lengths: Tensor,
        source: Tensor,
        source_mask: Tensor,
        samples: int = 1,
    ) -> VAEOutput:
        """Read the pairs, draw ``samples`` latents each and score the targets under them.

        Args:
            inputs: decoder inputs, (B, T).
            targets: shifted targets, (B, T).
            mask: True on real tokens, (B, T).
            lengths: real tokens of each target, (B,).
            source: with EOS, (B, S).
            source_mask: True on real tokens, (B, S).
            samples: K.
        """
        reading = self.read(inputs, targets, mask, source, source_mask)
        z = sample(reading.posterior, samples)
        bag = self.bag_of_words if self.training else None
        return VAEOutput(
            posterior=along(reading.posterior, z),
            prior=along(reading.prior, z),
            z=z,
            log_likelihood=reading.log_likelihood(z),
            tokens=lengths,
            bag_of_words=None if bag is None else bag.log_likelihood(z, targets, mask),
        )

    @torch.no_grad()
    def attention(self, batch: Batch) -> Tensor:
        """How far each step of the target attends to each token of the source, (B, T, S); z is the posterior's mean.

        Args:
            batch: B pairs.
        """
        source = self.encode(batch.source, batch.source_mask)
        z = source.states.new_zeros(1, len(source.states), 0)
        if self.latent.beside_words:
            posterior, _, _ = self._find(batch.inputs, batch.targets, batch.mask, source)
            z = posterior.mean[None]
        hidden, _, _ = self.decoder.read(batch.inputs, z, source)
        return self.decoder.attention(hidden, source)[1][0]

    @torch.no_grad()
    def translate(
        self,
        source: Tensor,
        source_mask: Tensor,
        z: Tensor | None = None,
        latent: Latent = "mean",
        **options: Any,
    ) -> Tensor:
        """Write targets with `transformers.GenerationMixin`: greedy, sampling, beam search and all of its options.

        One z a pair is taken from the prior before the first word: all translations of a source have the same z, and a
        source that stands in the batch several times has as many. A z of each step is taken there, see the latents.

        Args:
            source: with EOS, (B, S).
            source_mask: True on real tokens, (B, S).
            z: (B, Z), of each step if there are several; None: according to ``latent``.
            latent: what is taken for z; "shuffled" is for batches, and gives each source the z of the one before.
            **options: of `GenerationMixin.generate`, such as ``max_new_tokens``, ``do_sample``, ``num_beams``,
                ``length_penalty``.

        Returns:
            Ids (B, T), BOS first and pads behind EOS; (B · r, T) with ``num_return_sequences=r``.
        """
        read = self.encode(source, source_mask)
        choose = _choices(len(source))[latent]
        start = self.latent.start(read, choose) if z is None else z
        step = partial(self.latent.step, self.decoder, choose=choose)
        return ConditionalLanguageModel(self.config, step, self.output_layer).write(start, read, **options)


def _choices(sentences: int) -> dict[Latent, Choice]:
    """What z is chosen from a distribution whose batch are so many sentences, each with all of its beams."""
    return {
        "mean": lambda distribution: distribution.mean,
        "sample": lambda distribution: distribution.sample(),
        "zero": lambda distribution: torch.zeros_like(distribution.mean),
        "shuffled": lambda distribution: distribution.mean.roll(len(distribution.mean) // sentences, 0),
    }


AutoConfig.register(Seq2SeqVAEConfig.model_type, Seq2SeqVAEConfig)
AutoModel.register(Seq2SeqVAEConfig, Seq2SeqVAEModel)
