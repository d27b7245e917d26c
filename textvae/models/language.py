"""The sentence VAE, which with an empty z is a language model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from textvae.models.base import TextModel
from textvae.models.configuration import Section, VAEConfig
from textvae.models.generation import ConditionalLanguageModel
from textvae.models.outputs import Reading
from textvae.modules.decoders import DECODERS
from textvae.modules.distributions import possible
from textvae.modules.encoders import ENCODERS
from textvae.modules.output_layer import BAGS
from textvae.modules.posteriors import POSTERIORS
from textvae.modules.priors import PRIORS
from textvae.support.errors import UserError
from textvae.support.options import Count, Dropout, Positive, Share, Size
from textvae.text.fields import Field, LabelField, TextField


class TextVAEConfig(VAEConfig):
    """Sizes and parts of a `TextVAEModel`.

    Attributes:
        vocab_size: number of tokens, set from the tokenizer.
        latent_size: Z; with 0, the model is a language model without z and without an encoder.
        embedding_size: size of the word vectors of encoder and decoder.
        hidden_size: D of encoder and decoder; in convolutions, the number of channels.
        dropout: dropout rate of every part that has dropout.
        encoder: encoder of the sentence, one of `ENCODERS`.
        posterior: computes q(z | x) from the encoder's summary, one of `POSTERIORS`.
        prior: p(z), one of `PRIORS`.
        decoder: decoder of the sentence, one of `DECODERS`.
        bag_of_words: second decoder, which predicts the words without their order (`BagOfWords`) for an additional loss
            in training; None: there is none.
        word_dropout: probability that an input word of the decoder becomes UNK in training.
        tie_word_embeddings: whether the output layer shares its weight with the decoder's word vectors (Press & Wolf
            2017).
        classes: names of the classes of a model with classes (M2), set from the corpus; None: the model has no classes.
        initial_range: r; initial weights are drawn from U(-r, r), as published; None: torch's defaults.
        initial_embedding_range: r for the word vectors.

    Raises:
        UserError: if an option is unknown, has the wrong type or is out of its range, or if posterior and prior do not
            fit together.
    """

    model_type = "textvae"
    parts = {  # noqa: RUF012
        "encoder": ENCODERS,
        "posterior": POSTERIORS,
        "prior": PRIORS,
        "decoder": DECODERS,
        "bag_of_words": BAGS,
    }
    optional_parts = ("bag_of_words",)
    from_fields = VAEConfig.from_fields | {"classes"}

    vocab_size: Count = 0
    latent_size: Count = 32
    embedding_size: Size = 256
    hidden_size: Size = 256
    dropout: Dropout = 0.5
    encoder: Section = field(default_factory=dict)
    posterior: Section = field(default_factory=dict)
    prior: Section = field(default_factory=dict)
    decoder: Section = field(default_factory=dict)
    bag_of_words: Section | None = None
    word_dropout: Share = 0.0
    tie_word_embeddings: bool = False
    classes: list[str] | None = None
    initial_range: Positive | None = 0.01
    initial_embedding_range: Positive = 0.1
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | None = 2
    unk_token_id: int | None = 3

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        kinds = {self.posterior["kind"], self.prior["kind"]}
        if "classes" in kinds and (len(kinds) > 1 or not self.latent_size):
            raise UserError(
                "expected posterior and prior both of kind classes, and a latent_size over 0, got posterior "
                f"{self.posterior['kind']}, prior {self.prior['kind']} and latent_size {self.latent_size}"
            )


class TextVAEModel(TextModel):
    """A variational auto-encoder of sentences (Bowman et al. 2016; Yang et al. 2017).

        z ~ N(0, I)                                      prior; it may be a mixture of Gaussians instead
        x_t ~ softmax(W decoder(x_<t, z) + b)            decoder
        q(z | x) = N(mean(encoder(x)), variance(encoder(x)))

    With classes there is a second latent variable y, with p(y) = 1 / C and q(y, z | x) = q(y | x) q(z | x, y) (M2,
    Kingma et al. 2014). Wherever a method takes or returns z, it is then [z, onehot(y)].

    With ``latent_size=0``, z is empty: the same code is a language model, its KL is 0, and its bounds are exact.
    """

    config_class = TextVAEConfig
    shared_fields = ("vocab_size", "embedding_size", "hidden_size", "decoder", "tie_word_embeddings")
    latent_fields = ("latent_size", "encoder", "posterior", "prior", "classes")
    used_by = "TextVAE, or the commands other than textvae translate"

    def __init__(self, config: TextVAEConfig) -> None:
        super().__init__(config)
        latent, classes = config.latent_size, len(config.classes or ())
        sizes = {"vocabulary_size": config.vocab_size, "latent_size": latent, "classes": classes}
        self.prior = config.build("prior", **sizes) if latent else PRIORS["standard_normal"](0)
        self.encoder = config.build("encoder", **sizes) if latent else None
        self.posterior = (
            config.build("posterior", **sizes, input_size=self.encoder.output_size) if self.encoder else None
        )
        sizes["latent_size"] = self.vector_size
        self.decoder = config.build("decoder", **sizes)
        self.output_layer = self._build_output_layer(self.decoder.output_size)
        self.bag_of_words = config.build("bag_of_words", **sizes) if config.bag_of_words and latent else None
        self.post_init()

    @classmethod
    def field_kinds(cls, config: Any) -> Sequence[type[Field]]:
        """The text and, if the posterior reads labels, the labels."""
        posterior = (getattr(config, "posterior", None) or {}).get("kind", next(iter(POSTERIORS)))
        return (
            (TextField, LabelField)
            if getattr(POSTERIORS.get(posterior), "reads_labels", False)
            else (TextField,)
        )

    def cures(self) -> list[str]:
        """An encoder that learns faster, a bag of words, word dropout, and a decoder that sees fewer previous words."""
        config = self.config
        wanted = {
            "model.encoder.kind: convolution": config.encoder["kind"] not in ("convolution", "bag_of_words"),
            "model.bag_of_words: {kind: softmax}": config.bag_of_words is None,
            "model.word_dropout: 0.3": config.word_dropout < 0.3,
            "model.decoder.kind: dilated_convolution": config.decoder["kind"] == "lstm",
        }
        return [cure for cure, helps in wanted.items() if helps]

    @property
    def vector_size(self) -> int:
        """Size of the vector that the decoder reads: Z, plus the number of classes."""
        return self.config.latent_size + len(self.config.classes or ())

    def inference_modules(self) -> Iterable[nn.Module]:
        """The encoder and the posterior."""
        return [module for module in (self.encoder, self.posterior) if module is not None]

    def initialize_encoder(self, source: TextVAEModel) -> None:
        """Copy the weights of the encoder from ``source``, or from its decoder if ``source`` has no encoder.

        The second is the "init" of Yang et al. 2017: the encoder starts from a language model.

        Raises:
            UserError: if this model has no encoder, or the parts differ in kind or size.
        """
        part = source.encoder or source.decoder
        wanted = {} if self.encoder is None else self.encoder.state_dict()
        given = {name: tensor for name, tensor in part.state_dict().items() if name in wanted}
        differing = [
            name for name, tensor in wanted.items() if given.get(name, tensor[:0]).shape != tensor.shape
        ]
        if self.encoder is None or differing:
            raise UserError(
                f"expected a model whose {type(part).__name__} fits the encoder, got one that differs in "
                f"{', '.join(differing) or 'everything: this model has no encoder'}; train it with the same "
                "tokenizer, embedding_size, hidden_size and layers"
            )
        self.encoder.load_state_dict(given)

    def encode(self, targets: Tensor, mask: Tensor, labels: Tensor | None = None, **_: Tensor) -> Any:
        """q(z | x) or, with classes, q(y, z | x), batch shape (B,).

        Args:
            targets: the sentences with EOS, (B, T).
            mask: True on real tokens, (B, T).
            labels: class of each sentence, `UNLABELLED` if unknown, (B,); None: no class is known.
        """
        if self.encoder is None or self.posterior is None:
            return self.prior(len(targets), self.output_layer.linear.bias)
        summary = self.encoder(targets, mask)
        return self.posterior(summary) if labels is None else self.posterior(summary, labels)

    def score(self, z: Tensor, inputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """log p(x | z) in nats, summed over the real tokens, (K, B).

        Args:
            z: (K, B, Z).
            inputs: decoder inputs, (B, T).
            targets: shifted targets, (B, T).
            mask: True on real tokens, (B, T).
        """
        states, _ = self.decoder(self._dropped(inputs, mask), z)
        return self.output_layer.log_likelihood(states, targets, mask)

    def _score_possible(
        self, posterior: Any, z: Tensor, inputs: Tensor, targets: Tensor, mask: Tensor
    ) -> Tensor:
        """`score`, but 0 for draws that the posterior excludes. Their weight is 0, so they are not decoded."""
        chosen = possible(posterior, z)
        if chosen is None:
            return self.score(z, inputs, targets, mask)
        draws, rows = chosen.nonzero(as_tuple=True)
        scores = self.score(z[None, draws, rows], inputs[rows], targets[rows], mask[rows])
        return scores.new_zeros(chosen.shape).index_put((draws, rows), scores[0])

    def likeliest(self, z: Tensor, inputs: Tensor, mask: Tensor) -> Tensor:
        """The id of the likeliest token at each of the N real positions, given z and the words before it, (N,).

        Args:
            z: (B, Z).
            inputs: decoder inputs, (B, T).
            mask: True on real tokens, (B, T).
        """
        states, _ = self.decoder(inputs, z[None])
        return self.output_layer.likeliest(states[0, mask])

    def read(  # type: ignore[override]
        self, inputs: Tensor, targets: Tensor, mask: Tensor, labels: Tensor | None = None, **_: Tensor
    ) -> Reading:
        """Posterior, prior and score of sentences.

        Args:
            inputs: decoder inputs, (B, T).
            targets: shifted targets, (B, T).
            mask: True on real tokens, (B, T).
            labels: see `encode`; used only in training, because evaluation bounds log p(x).
        """
        posterior = self.encode(targets, mask, labels if self.training else None)
        bag = self.bag_of_words
        return Reading(
            posterior,
            self.prior(len(inputs), posterior.mean),
            lambda z: self._score_possible(posterior, z, inputs, targets, mask),
            {} if bag is None else {"bag_of_words": lambda z: bag.log_likelihood(z, targets, mask)},
        )

    @torch.no_grad()
    def generate(self, z: Tensor, *, generator: torch.Generator | None = None, **options: Any) -> Tensor:
        """Decode z with `transformers.GenerationMixin`: greedily, by sampling or by beam search.

        Args:
            z: (N, Z).
            generator: random generator for sampled words; None: the global random state.
            **options: options of `GenerationMixin.generate`, such as ``max_new_tokens``, ``do_sample``,
                ``temperature``, ``top_k``, ``top_p``, ``num_beams``.

        Returns:
            Ids (N, T), with BOS first and pads after EOS; (N · r, T) with ``num_return_sequences=r``.
        """
        return ConditionalLanguageModel(self.config, self.decoder, self.output_layer).write(
            z, generator=generator, **options
        )


AutoConfig.register(TextVAEConfig.model_type, TextVAEConfig)
AutoModel.register(TextVAEConfig, TextVAEModel)
