"""The sentence VAE and, with an empty z, the language model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Independent, kl_divergence
from transformers import AutoConfig, AutoModel, PretrainedConfig

from textvae.errors import UserError
from textvae.models.base import VAEModel, check_choices
from textvae.models.generation import ConditionalLanguageModel
from textvae.models.outputs import VAEOutput
from textvae.models.refinement import Refinement, refined, refined_with_gradient
from textvae.modules.classes import ClassGaussian, ClassPosterior, ClassPrior
from textvae.modules.decoders import DILATIONS, DilatedConvolutionDecoder, LSTMDecoder
from textvae.modules.encoders import BagOfWordsEncoder, ConvolutionEncoder, LSTMEncoder
from textvae.modules.latents import (
    GaussianPosterior,
    MixturePrior,
    NormalizedMeans,
    StandardNormalPrior,
    diagonal_gaussian,
    sample,
)
from textvae.modules.output_layer import BagOfWords


class TextVAEConfig(PretrainedConfig):
    """Sizes and choices of a `TextVAEModel`.

    Attributes:
        vocab_size: number of tokens, set from the tokenizer.
        latent_size: Z; 0 is the language model without z, with no encoder.
        embedding_size: size of the word vectors of encoder and decoder.
        hidden_size: D of encoder and decoder, the number of channels where they are convolutional.
        encoder_type: what reads the sentence.
        encoder_layers: LSTM layers, convolutions, or layers behind the mean of the word vectors.
        bidirectional: whether the LSTM encoder reads both ways.
        decoder_type: what writes the sentence.
        decoder_layers: LSTM layers of the decoder.
        dilations: blocks of the dilated convolution decoder, a name of `DILATIONS`.
        dropout: on the decoder's word vectors and output states.
        variational_dropout: whether its mask is one for all tokens of a sentence (`VariationalDropout`).
        recurrent_dropout: on the weights of an LSTM decoder from step to step (`LSTMDecoder`).
        word_dropout: how many of the decoder's input words become UNK in training.
        tie_word_embeddings: the output layer's weight is the decoder's word vectors (Press & Wolf 2017).
        skip_connection: from z to the output layer (`SkipConnection`).
        bag_of_words: with a second decoder of the words in no order (`BagOfWords`), whose loss helps in training.
        bag_of_words_hidden: whether it has a hidden layer; without one, topics are directions of z.
        bag_of_words_weights: what its words count: each token one, or as in TF-IDF, so that z says the topic.
        normalize_means: deviation gamma of batch-normalised posterior means (`NormalizedMeans`), which keeps the KL
            over gamma² latent_size / 2 nats; None: as the encoder gives them.
        prior_components: Gaussians of a prior that is a mixture and learnt (`MixturePrior`), so that the model has
            clusters; None: the prior is N(0, I).
        classes: names of the classes of a model whose class is latent too (M2, `ClassPosterior`); None: it has none.
        class_temperature: of a Gumbel-softmax that draws the class of a sentence without a label in training; None:
            all classes are tried, and weighed by q(y | x).
        initial_range: weights are drawn from U(-r, r), as published; None leaves torch's defaults.
        initial_embedding_range: the same for the word vectors.

    Raises:
        UserError: if a choice is not one of those listed, a dropout is not from 0 to 1, or two do not fit.
    """

    model_type = "textvae"

    vocab_size: int = 0
    latent_size: int = 32
    embedding_size: int = 256
    hidden_size: int = 256
    encoder_type: Literal["lstm", "convolution", "bag_of_words"] = "lstm"
    encoder_layers: int = 1
    bidirectional: bool = False
    decoder_type: Literal["lstm", "dilated_convolution"] = "lstm"
    decoder_layers: int = 1
    dilations: Literal["small", "medium", "large", "very-large"] = "small"
    dropout: float = 0.5
    variational_dropout: bool = False
    recurrent_dropout: float = 0.0
    word_dropout: float = 0.0
    tie_word_embeddings: bool = False
    skip_connection: bool = False
    bag_of_words: bool = False
    bag_of_words_hidden: bool = True
    bag_of_words_weights: Literal["counts", "tf_idf"] = "counts"
    normalize_means: float | None = None
    prior_components: int | None = None
    classes: list[str] | None = None
    class_temperature: float | None = None
    initial_range: float | None = 0.01
    initial_embedding_range: float = 0.1
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | None = 2
    unk_token_id: int | None = 3

    def __post_init__(self, **kwargs: Any) -> None:
        check_choices(self, TextVAEConfig)
        if self.classes is not None and not (
            self.latent_size and self.normalize_means is None and self.prior_components is None
        ):
            raise UserError(
                "expected classes with a latent_size over 0, and without normalize_means and prior_components"
            )
        if self.recurrent_dropout and self.decoder_type != "lstm":
            raise UserError(f"expected recurrent_dropout with an LSTM decoder, got {self.decoder_type}")
        super().__post_init__(**kwargs)

    @property
    def vector_size(self) -> int:
        """Size of what the decoder is given: z and, with classes, their probabilities."""
        return self.latent_size + len(self.classes or ())


def _build_encoder(config: TextVAEConfig) -> LSTMEncoder | ConvolutionEncoder | BagOfWordsEncoder:
    sizes = {
        "vocabulary_size": config.vocab_size,
        "embedding_size": config.embedding_size,
        "hidden_size": config.hidden_size,
        "layers": config.encoder_layers,
    }
    if config.encoder_type == "lstm":
        return LSTMEncoder(**sizes, bidirectional=config.bidirectional)
    if config.encoder_type == "convolution":
        return ConvolutionEncoder(**sizes)
    return BagOfWordsEncoder(**sizes)


def _build_decoder(config: TextVAEConfig) -> LSTMDecoder | DilatedConvolutionDecoder:
    sizes: dict[str, Any] = {
        "vocabulary_size": config.vocab_size,
        "embedding_size": config.embedding_size,
        "hidden_size": config.hidden_size,
        "latent_size": config.vector_size,
        "dropout": config.dropout,
        "variational_dropout": config.variational_dropout,
        "skip": config.skip_connection,
    }
    if config.decoder_type == "lstm":
        return LSTMDecoder(**sizes, layers=config.decoder_layers, recurrent_dropout=config.recurrent_dropout)
    return DilatedConvolutionDecoder(**sizes, dilations=DILATIONS[config.dilations])


def _build_posterior(config: TextVAEConfig, summary_size: int) -> GaussianPosterior | ClassPosterior:
    if config.classes is not None:
        return ClassPosterior(summary_size, config.latent_size, len(config.classes), config.dropout)
    deviation = config.normalize_means
    means = None if deviation is None else NormalizedMeans(config.latent_size, deviation)
    return GaussianPosterior(summary_size, config.latent_size, means)


def _build_prior(config: TextVAEConfig) -> StandardNormalPrior | MixturePrior | ClassPrior:
    if config.classes is not None:
        return ClassPrior(config.latent_size, len(config.classes))
    if config.prior_components is None or not config.latent_size:
        return StandardNormalPrior(config.latent_size)
    return MixturePrior(config.latent_size, config.prior_components)


class TextVAEModel(VAEModel):
    """A variational auto-encoder of sentences (Bowman et al. 2016; Yang et al. 2017).

        z ~ N(0, I)                                      prior, or a mixture of Gaussians
        x_t ~ softmax(W decoder(x_<t, z) + b)            decoder
        q(z | x) = N(mean(encoder(x)), variance(encoder(x)))

    With classes the latent has a part y as well, p(y) = 1 / C, z stands for [z, onehot(y)] wherever a decoder or a
    caller is given it, and q(y, z | x) = q(y | x) q(z | x, y) (M2, Kingma et al. 2014).

    With ``latent_size=0`` z is empty: the same code is the decoder's language model, and all that is computed for
    it (KL 0, bounds that are exact) is computed by the same code too.
    """

    config_class = TextVAEConfig
    shared_fields = (
        "vocab_size",
        "embedding_size",
        "hidden_size",
        "decoder_type",
        "decoder_layers",
        "dilations",
        "tie_word_embeddings",
    )
    latent_fields = (
        "latent_size",
        "encoder_type",
        "encoder_layers",
        "bidirectional",
        "skip_connection",
        "normalize_means",
        "prior_components",
        "classes",
    )

    def __init__(self, config: TextVAEConfig) -> None:
        super().__init__(config)
        self.prior = _build_prior(config)
        self.encoder = _build_encoder(config) if config.latent_size else None
        self.posterior = _build_posterior(config, self.encoder.output_size) if self.encoder else None
        self.decoder = _build_decoder(config)
        self.output_layer = self._build_output_layer(self.decoder.output_size)
        self.bag_of_words = (
            BagOfWords(
                config.vector_size,
                config.hidden_size if config.bag_of_words_hidden else None,
                config.vocab_size,
                tf_idf=config.bag_of_words_weights == "tf_idf",
            )
            if config.bag_of_words and config.latent_size
            else None
        )
        self.post_init()

    def keep_inference_network(self, source: TextVAEModel) -> None:
        """Copy the encoder and the posterior of ``source``; the decoder stays as new as it is (Li et al. 2019)."""
        self._copy(source, "encoder", "posterior")

    def keep_all_but_prior(self, source: TextVAEModel) -> None:
        """Copy every part of ``source`` but the prior."""
        self._copy(source, *(name for name, _ in self.named_children() if name != "prior"))

    def _copy(self, source: TextVAEModel, *parts: str) -> None:
        for part in parts:
            getattr(self, part).load_state_dict(getattr(source, part).state_dict())

    def initialize_encoder(self, source: TextVAEModel) -> None:
        """Copy the encoder of ``source`` or, if it is a language model, its decoder (Yang et al. 2017, "init").

        Raises:
            UserError: if the parts differ in kind or size.
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

    def encode(
        self, targets: Tensor, mask: Tensor, labels: Tensor | None = None
    ) -> Independent | ClassGaussian:
        """q(z | x) or, with classes, q(y, z | x), batch shape (B,).

        Args:
            targets: the sentences with EOS, (B, T).
            mask: True on real tokens, (B, T).
            labels: of a model with classes, `UNLABELLED` where the class is not known, (B,); None: it never is.
        """
        if self.encoder is None or self.posterior is None:
            return self.prior(len(targets), self.output_layer.linear.bias)
        summary = self.encoder(targets, mask)
        return self.posterior(summary) if labels is None else self.posterior(summary, labels)

    def log_likelihood(self, z: Tensor, inputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """log p(x | z) in nats, summed over the real tokens, (K, B).

        Args:
            z: (K, B, Z).
            inputs: decoder inputs, (B, T).
            targets: shifted targets, (B, T).
            mask: True on real tokens, (B, T).
        """
        inputs = self._dropped(inputs, mask)
        states, _ = self.decoder(inputs, z)
        return self.output_layer.log_likelihood(states, targets, mask)

    def refine(
        self,
        posterior: Independent | ClassGaussian,
        inputs: Tensor,
        targets: Tensor,
        mask: Tensor,
        refinement: Refinement,
        kl_weight: float = 1.0,
    ) -> Independent:
        """The posterior after gradient steps that raise each sentence's ELBO (`refinement`).

        The steps see the model as it is in evaluation, and the same draws each time: a pair mirrored at the mean.

        Args:
            posterior: where to start, batch shape (B,).
            inputs: decoder inputs, (B, T).
            targets: shifted targets, (B, T).
            mask: True on real tokens, (B, T).
            refinement: how far and how fast.
            kl_weight: of the KL in the bound that is raised.

        Raises:
            UserError: if the model has classes.
        """
        if isinstance(posterior, ClassGaussian):
            raise UserError("expected a model without classes for the refinement of posteriors")
        noise = torch.randn_like(posterior.mean)
        draws = torch.stack([noise, -noise])

        def negative_elbo(mean: Tensor, log_variance: Tensor) -> Tensor:
            q = diagonal_gaussian(mean, (0.5 * log_variance).exp())
            kl = kl_divergence(q, self.prior(len(mean), mean))
            # cuDNN's LSTM has no gradient in evaluation mode.
            with self._in_evaluation(), torch.backends.cudnn.flags(enabled=False):
                scores = self.log_likelihood(mean + q.stddev * draws, inputs, targets, mask)
            return kl_weight * kl - scores.mean(0)

        start = posterior.mean, 2 * posterior.stddev.log()
        if torch.is_grad_enabled():
            parts = self.prior, self.decoder, self.output_layer
            generative = [parameter for part in parts for parameter in part.parameters()]
            unique = list({id(parameter): parameter for parameter in generative}.values())
            mean, log_variance = refined_with_gradient(negative_elbo, *start, unique, refinement)
        else:
            mean, log_variance = refined(negative_elbo, *start, refinement)
        return diagonal_gaussian(mean, (0.5 * log_variance).exp())

    @contextmanager
    def _in_evaluation(self) -> Iterator[None]:
        """Without dropout, whatever the mode, which is as before afterwards."""
        training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(training)

    def forward(
        self,
        inputs: Tensor,
        targets: Tensor,
        mask: Tensor,
        lengths: Tensor,
        samples: int = 1,
        refinement: Refinement | None = None,
        kl_weight: float = 1.0,
        labels: Tensor | None = None,
    ) -> VAEOutput:
        """Encode the sentences, draw ``samples`` latents each and score the sentences under them.

        Args:
            inputs: decoder inputs, (B, T).
            targets: shifted targets, (B, T).
            mask: True on real tokens, (B, T).
            lengths: real tokens of each sentence, (B,).
            samples: K.
            refinement: how each sentence's posterior is improved first; None: not at all.
            kl_weight: of the KL in the refinement's bound.
            labels: of a model with classes, see `encode`.
        """
        posterior = self.encode(targets, mask, labels)
        if refinement is not None and self.encoder is not None:
            posterior = self.refine(posterior, inputs, targets, mask, refinement, kl_weight)
        z, weights = self._draw(posterior, samples)
        bag = self.bag_of_words if self.training else None
        return VAEOutput(
            posterior=posterior,
            prior=self.prior(len(inputs), z),
            z=z,
            log_likelihood=self.log_likelihood(z, inputs, targets, mask),
            tokens=lengths,
            bag_of_words=None if bag is None else bag.log_likelihood(z, targets, mask),
            weights=weights,
            classification=None if labels is None else _surprise(posterior, labels),
        )

    def _draw(self, posterior: Independent | ClassGaussian, samples: int) -> tuple[Tensor, Tensor | None]:
        """Draws from the posterior, (K, B, Z), and their weights (K, B); for classes (C · K, B, Z + C)."""
        if not isinstance(posterior, ClassGaussian):
            return sample(posterior, samples), None
        if self.config.class_temperature is None:
            return posterior.enumerated(samples)
        return posterior.relaxed(self.config.class_temperature, samples), None

    @torch.no_grad()
    def generate(self, z: Tensor, **options: Any) -> Tensor:
        """Decode z with `transformers.GenerationMixin`: greedy, sampling, beam search and all of its options.

        Args:
            z: (N, Z).
            **options: of `GenerationMixin.generate`, such as ``max_new_tokens``, ``do_sample``, ``temperature``,
                ``top_k``, ``top_p``, ``num_beams``.

        Returns:
            Ids (N, T), BOS first and pads behind EOS; (N · r, T) with ``num_return_sequences=r``.
        """
        return ConditionalLanguageModel(self.config, self.decoder, self.output_layer).write(z, **options)


def _surprise(posterior: Independent | ClassGaussian, labels: Tensor) -> Tensor | None:
    """-log q(y | x) of the labels that are known, (N,)."""
    if not isinstance(posterior, ClassGaussian):
        return None
    known = labels >= 0
    return -posterior.log_probabilities[known].gather(-1, labels[known, None]).squeeze(-1)


AutoConfig.register(TextVAEConfig.model_type, TextVAEConfig)
AutoModel.register(TextVAEConfig, TextVAEModel)
