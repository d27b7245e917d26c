"""The sequence-to-sequence VAE and, with an empty z, the attentional encoder-decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from transformers import AutoConfig, AutoModel

from textvae.models.base import TextModel
from textvae.models.configuration import Section, VAEConfig
from textvae.models.generation import ConditionalLanguageModel
from textvae.models.outputs import Reading
from textvae.modules.attention import ATTENTIONS, Source
from textvae.modules.attentive_decoder import ATTENTIVE_DECODERS
from textvae.modules.conditional_latents import LATENTS, AttentionLatent, Choice, SentenceLatent
from textvae.modules.distributions import sample
from textvae.modules.output_layer import BAGS
from textvae.modules.source_encoders import SOURCE_ENCODERS
from textvae.support.errors import UserError
from textvae.support.options import Count, Dropout, Positive, Share, Size
from textvae.text.batches import Batch
from textvae.text.fields import Field, SourceField, TargetField

Latent = Literal["mean", "sample", "zero", "shuffled"]
"""The z that generation takes: the mean of its distribution, a draw, 0, or the mean of the sentence before it."""


class Seq2SeqVAEConfig(VAEConfig):
    """Sizes and parts of a `Seq2SeqVAEModel`.

    Attributes:
        vocab_size: number of target tokens, set from the tokenizer.
        source_vocab_size: number of source tokens, set from the sources' tokenizer.
        latent_size: Z; 0 is the model without z.
        embedding_size: size of the word vectors of both sides.
        hidden_size: D of the encoders and the decoder.
        dropout: rate of dropout on the word vectors of source and decoder, in the source's encoder, and on the
            decoder's output states.
        encoder: what reads the source and, for the posterior, the target, one of `SOURCE_ENCODERS`.
        latent: where z stands, one of `LATENTS`: one z a pair, one that is the context of each step, or one at each
            step beside the context; and whether its prior depends on the source.
        attention: how the decoder's states score those of the source, one of `ATTENTIONS`.
        decoder: what writes the target, one of `ATTENTIVE_DECODERS`.
        bag_of_words: a second decoder that predicts the words in no order (`BagOfWords`), whose loss helps in training,
            for one z a pair; None: there is none.
        word_dropout: share of the decoder's input words that become UNK in training.
        tie_word_embeddings: whether the output layer's weight is the decoder's word vectors (Press & Wolf 2017).
        share_embeddings: whether source and target have the same word vectors, and so one vocabulary.
        initial_range: weights are drawn from U(-r, r); None leaves torch's defaults. With smaller weights and word
            vectors the decoder hardly sees the source for the first hundreds of steps.
        initial_embedding_range: the same for the word vectors.

    Raises:
        UserError: if an option is unknown, of another type or out of its range, or if two do not fit.
    """

    model_type = "textvae-seq2seq"
    parts = {  # noqa: RUF012
        "encoder": SOURCE_ENCODERS,
        "latent": LATENTS,
        "attention": ATTENTIONS,
        "decoder": ATTENTIVE_DECODERS,
        "bag_of_words": BAGS,
    }
    optional_parts = ("bag_of_words",)
    from_fields = VAEConfig.from_fields | {"source_vocab_size"}

    vocab_size: Count = 0
    source_vocab_size: Count = 0
    latent_size: Count = 32
    embedding_size: Size = 256
    hidden_size: Size = 256
    dropout: Dropout = 0.5
    encoder: Section = field(default_factory=dict)
    latent: Section = field(default_factory=dict)
    attention: Section = field(default_factory=lambda: {"kind": "general"})
    decoder: Section = field(default_factory=dict)
    bag_of_words: Section | None = None
    word_dropout: Share = 0.0
    tie_word_embeddings: bool = False
    share_embeddings: bool = False
    initial_range: Positive | None = 0.1
    initial_embedding_range: Positive = 0.5
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | None = 2
    unk_token_id: int | None = 3

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.bag_of_words is not None and self.latent["kind"] != "sentence":
            raise UserError(
                f"expected bag_of_words with a latent of kind sentence, got {self.latent['kind']}: leave one out"
            )
        if self.share_embeddings and self.source_vocab_size != self.vocab_size:
            raise UserError(
                "expected one vocabulary of both sides for share_embeddings, got "
                f"{self.source_vocab_size} source and {self.vocab_size} target tokens: train a joint tokenizer"
            )


class Seq2SeqVAEModel(TextModel):
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
        "encoder",
        "attention",
        "decoder",
        "tie_word_embeddings",
        "share_embeddings",
    )
    latent_fields = ("latent_size", "latent")
    used_by = "Translator, or textvae translate"

    def __init__(self, config: Seq2SeqVAEConfig) -> None:
        super().__init__(config)
        if config.source_vocab_size <= 0:
            raise UserError(
                f"expected a positive source_vocab_size, got {config.source_vocab_size}: set it from the "
                "sources' tokenizer"
            )
        size, latent_size = config.hidden_size, config.latent_size
        self.source_embedding = (
            None if config.share_embeddings else nn.Embedding(config.source_vocab_size, config.embedding_size)
        )
        self.encoder = config.build("encoder")
        # Without dimensions all kinds of latent are the same.
        self.latent = (
            config.build("latent", size=size, latent_size=latent_size)
            if latent_size
            else SentenceLatent(size, 0)
        )
        # It reads what the decoder has to write, and dropout would hide that from the posterior.
        self.target_encoder = config.build("encoder", dropout=0.0) if self.latent.reads_target else None
        self.decoder = config.build(
            "decoder",
            vocabulary_size=config.vocab_size,
            latent_size=self.latent.beside_words,
            attention=config.build("attention", size=size),
            beside=self.latent.beside_states,
        )
        self.output_layer = self._build_output_layer(self.decoder.output_size)
        sizes = {"vocabulary_size": config.vocab_size, "latent_size": latent_size}
        self.bag_of_words = (
            config.build("bag_of_words", **sizes) if config.bag_of_words and latent_size else None
        )
        self.post_init()

    @classmethod
    def field_kinds(cls, config: Any) -> Sequence[type[Field]]:
        """The target and its source."""
        return TargetField, SourceField

    def cures(self) -> list[str]:
        """Word dropout and, with one z a pair, a bag of words."""
        config = self.config
        wanted = {
            "model.word_dropout: 0.3": config.word_dropout < 0.3,
            "model.bag_of_words: {}": config.bag_of_words is None and config.latent["kind"] == "sentence",
        }
        return [cure for cure, helps in wanted.items() if helps]

    def inference_modules(self) -> Iterable[nn.Module]:
        """The encoder of the targets, and the latent's posterior."""
        return [module for module in (self.target_encoder, self.latent.posterior) if module is not None]

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

    def read(  # type: ignore[override]
        self,
        inputs: Tensor,
        targets: Tensor,
        mask: Tensor,
        source: Tensor,
        source_mask: Tensor,
        **_: Tensor,
    ) -> Reading:
        """Posterior, prior and score of the targets, given their sources.

        Args:
            inputs: decoder inputs, (B, T).
            targets: shifted targets, (B, T).
            mask: True on real tokens, (B, T).
            source: with EOS, (B, S).
            source_mask: True on real tokens, (B, S).
        """
        inputs = self._dropped(inputs, mask)
        posterior, prior, states_of = self._find(inputs, targets, mask, self.encode(source, source_mask))
        bag = self.bag_of_words
        return Reading(
            posterior,
            prior,
            lambda z: self.output_layer.log_likelihood(states_of(z), targets, mask),
            {} if bag is None else {"bag_of_words": lambda z: bag.log_likelihood(z, targets, mask)},
        )

    def _find(
        self, inputs: Tensor, targets: Tensor, mask: Tensor, source: Source
    ) -> tuple[Distribution, Distribution, Callable[[Tensor], Tensor]]:
        """Posterior, prior, and what makes decoder states of z."""
        target = None
        if self.target_encoder is not None:
            target = self.target_encoder(self.decoder.embedding(targets), mask)
        return self.latent(self.decoder, inputs, mask, source, target)

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
        generator: torch.Generator | None = None,
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
            generator: of all draws, of z and of words; None: the global random state.
            **options: of `GenerationMixin.generate`, such as ``max_new_tokens``, ``do_sample``, ``num_beams``,
                ``length_penalty``.

        Returns:
            Ids (B, T), BOS first and pads behind EOS; (B · r, T) with ``num_return_sequences=r``.
        """
        read = self.encode(source, source_mask)
        choose = _choices(len(source), generator)[latent]
        start = self.latent.start(read, choose) if z is None else z
        step = partial(self.latent.step, self.decoder, choose=choose)
        return ConditionalLanguageModel(self.config, step, self.output_layer).write(
            start, read, generator=generator, **options
        )


def _choices(sentences: int, generator: torch.Generator | None) -> dict[Latent, Choice]:
    """What z is taken from a distribution whose batch is this many sentences, each with all of its beams."""
    return {
        "mean": lambda distribution: distribution.mean,
        "sample": lambda distribution: sample(distribution, 1, generator)[0],
        "zero": lambda distribution: torch.zeros_like(distribution.mean),
        "shuffled": lambda distribution: distribution.mean.roll(len(distribution.mean) // sentences, 0),
    }


AutoConfig.register(Seq2SeqVAEConfig.model_type, Seq2SeqVAEConfig)
AutoModel.register(Seq2SeqVAEConfig, Seq2SeqVAEModel)
