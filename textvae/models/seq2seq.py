"""The sequence-to-sequence VAE; with an empty z it is the attentional encoder-decoder."""

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
"""The z that generation uses: the mean of its distribution, a draw, 0, or the mean of the sentence before."""


class Seq2SeqVAEConfig(VAEConfig):
    """The sizes and parts of a `Seq2SeqVAEModel`.

    Attributes:
        vocab_size: number of target tokens, set from the tokenizer.
        source_vocab_size: number of source tokens, set from the tokenizer of the sources.
        latent_size: Z; 0: the model has no z.
        embedding_size: size of the word vectors of source and target.
        hidden_size: D of the encoders and the decoder.
        dropout: dropout rate on the word vectors of source and decoder, in the source encoder, and on the decoder's
            output states.
        encoder: the network that reads the source and, for the posterior, the target, one of `SOURCE_ENCODERS`.
        latent: the latent variable, one of `LATENTS`: one z for each pair, one z for each step that replaces the
            context, or one z for each step beside the context; and whether its prior depends on the source.
        attention: the scores between states of the decoder and of the source, one of `ATTENTIONS`.
        decoder: the network that writes the target, one of `ATTENTIVE_DECODERS`.
        bag_of_words: a second decoder that predicts the words without their order (`BagOfWords`). It adds a loss in
            training, and needs one z for each pair; None: there is no second decoder.
        word_dropout: share of the decoder's input words that become UNK in training.
        tie_word_embeddings: whether the weight of the output layer is the matrix of the decoder's word vectors
            (Press & Wolf 2017).
        share_embeddings: whether source and target have the same word vectors, and so the same vocabulary.
        initial_range: r if the weights are initialised from U(-r, r); None: torch's defaults. If the weights and word
            vectors are smaller, the decoder hardly uses the source in the first hundreds of steps.
        initial_embedding_range: r of the word vectors.

    Raises:
        UserError: if an option is unknown, has the wrong type or is out of its range, or if two do not fit together.
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
                "expected one vocabulary for both sides, as share_embeddings needs, got "
                f"{self.source_vocab_size} source and {self.vocab_size} target tokens: train a joint tokenizer"
            )


class Seq2SeqVAEModel(TextModel):
    """A variational encoder-decoder, p(y | x) = E[p(y | x, z)] over p(z | x).

        states of x = encoder(x)
        z ~ p(z | x)                                          prior
        y_t ~ softmax(W decoder(y_<t, z, states of x) + b)    decoder, with attention
        q(z | x, y)                                           posterior, given the states of x and of y

    With ``latent_size=0`` z is empty: the model is the attentional encoder-decoder, and its bounds are exact.
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
                "tokenizer of the sources"
            )
        size, latent_size = config.hidden_size, config.latent_size
        self.source_embedding = (
            None if config.share_embeddings else nn.Embedding(config.source_vocab_size, config.embedding_size)
        )
        self.encoder = config.build("encoder")
        # If z is empty, all kinds of latent are the same.
        self.latent = (
            config.build("latent", size=size, latent_size=latent_size)
            if latent_size
            else SentenceLatent(size, 0)
        )
        # The target encoder has no dropout, because that would hide from the posterior what the decoder has to write.
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
        """The fields of the target and of the source."""
        return TargetField, SourceField

    def cures(self) -> list[str]:
        """Word dropout and, if there is one z for each pair, a bag of words."""
        config = self.config
        wanted = {
            "model.word_dropout: 0.3": config.word_dropout < 0.3,
            "model.bag_of_words: {}": config.bag_of_words is None and config.latent["kind"] == "sentence",
        }
        return [cure for cure, helps in wanted.items() if helps]

    def inference_modules(self) -> Iterable[nn.Module]:
        """The target encoder and the posterior of the latent variable."""
        return [module for module in (self.target_encoder, self.latent.posterior) if module is not None]

    def start_from(self, source: Seq2SeqVAEModel) -> None:
        """See `VAEModel`. If z replaces the contexts of a model without z, these become its posterior mean.

        Raises:
            UserError: if the models differ in more than z, or if z replaces the contexts and has another size.
        """
        contexts = None if source.config.latent_size else self.latent
        if not isinstance(contexts, AttentionLatent):
            super().start_from(source)
            return
        if self.config.latent_size != self.config.hidden_size:
            raise UserError(
                "expected latent_size equal to hidden_size, because z starts as the context, got "
                f"{self.config.latent_size} and {self.config.hidden_size}: change one of them"
            )
        super().start_from(source)
        contexts.start_as_context()

    def encode(self, source: Tensor, source_mask: Tensor) -> Source:
        """The encoded source sentences, as the decoder reads them.

        Args:
            source: source ids with EOS, (B, S).
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
        """The posterior, prior and score of the targets, given their sources.

        Args:
            inputs: decoder inputs, (B, T).
            targets: shifted targets, (B, T).
            mask: True on real tokens, (B, T).
            source: source ids with EOS, (B, S).
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
        """The posterior, the prior, and a function from z to decoder states."""
        target = None
        if self.target_encoder is not None:
            target = self.target_encoder(self.decoder.embedding(targets), mask)
        return self.latent(self.decoder, inputs, mask, source, target)

    @torch.no_grad()
    def attention(self, batch: Batch) -> Tensor:
        """The attention weight of each source token at each target step, (B, T, S), given the posterior mean of z.

        Args:
            batch: a batch of B pairs.
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

        If there is one z for each pair, it is chosen from the prior before the first word: all translations of one row
        share it, but two rows with the same source have a z each. If each step has a z, it is chosen at that step.

        Args:
            source: source ids with EOS, (B, S).
            source_mask: True on real tokens, (B, S).
            z: z of each source, (B, Z), used at every step if each step has a z; None: chosen as ``latent`` says.
            latent: how z is chosen; "shuffled" gives each source of the batch the z of the one before.
            generator: random generator of z and of the words; None: the global random state.
            **options: options of `GenerationMixin.generate`, such as ``max_new_tokens``, ``do_sample``,
                ``num_beams``, ``length_penalty``.

        Returns:
            Ids (B, T) that begin with BOS and have pads after EOS; (B · r, T) if ``num_return_sequences=r``.
        """
        read = self.encode(source, source_mask)
        choose = _choices(len(source), generator)[latent]
        start = self.latent.start(read, choose) if z is None else z
        step = partial(self.latent.step, self.decoder, choose=choose)
        return ConditionalLanguageModel(self.config, step, self.output_layer).write(
            start, read, generator=generator, **options
        )


def _choices(sentences: int, generator: torch.Generator | None) -> dict[Latent, Choice]:
    """For each ``latent``, the function that chooses z from its distribution.

    Args:
        sentences: number of sentences in the batch; the distribution has a row for each beam of each.
        generator: random generator; None: the global random state.
    """
    return {
        "mean": lambda distribution: distribution.mean,
        "sample": lambda distribution: sample(distribution, 1, generator)[0],
        "zero": lambda distribution: torch.zeros_like(distribution.mean),
        "shuffled": lambda distribution: distribution.mean.roll(len(distribution.mean) // sentences, 0),
    }


AutoConfig.register(Seq2SeqVAEConfig.model_type, Seq2SeqVAEConfig)
AutoModel.register(Seq2SeqVAEConfig, Seq2SeqVAEModel)
