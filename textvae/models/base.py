"""The base classes of all models: they read a batch, draw z, and score the batch given z."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init

from textvae.models.configuration import VAEConfig
from textvae.models.outputs import Reading, VAEOutput
from textvae.models.refinement import Refinement, refined_reading
from textvae.modules.decoders import drop_words
from textvae.modules.distributions import Draws, along, pathwise
from textvae.modules.output_layer import OutputLayer
from textvae.support.errors import UserError
from textvae.text.fields import Field, FieldOptions, Fields

Draw = Callable[[Any, int], Draws]
"""Draws K times from a posterior. It decides which gradient flows back through the draws."""


class VAEModel(PreTrainedModel):
    """A model of x that returns a `VAEOutput`, from which every objective and every estimate is computed.

    Each kind of model is a subclass that names its configuration and its fields, and reads a batch.

    Attributes:
        used_by: the interface that loads this kind of model; messages name it.
        shared_fields: options that must be the same in a trained model that this one starts from (`start_from`).
        latent_fields: further such options if the trained model has a z.
        training_only: options of parts that may nevertheless differ between the two.
        of_latent: further options of parts that may differ if the trained model has no z.
        few_steps: after fewer steps of training, advice is to train longer.
    """

    base_model_prefix = ""
    main_input_name = "inputs"
    # If this were True, the Trainer would not divide the loss by the number of accumulation steps.
    accepts_loss_kwargs = False
    shared_fields: ClassVar[tuple[str, ...]] = ()
    latent_fields: ClassVar[tuple[str, ...]] = ()
    training_only: ClassVar[tuple[str, ...]] = ("dropout", "variational_dropout", "recurrent_dropout")
    of_latent: ClassVar[tuple[str, ...]] = ("skip_connection",)
    used_by: ClassVar[str] = "the class that it was made for"
    few_steps: ClassVar[int] = 600

    @abstractmethod
    def read(self, **batch: Tensor) -> Reading:
        """The posterior, prior and score of a batch, given as the tensors that the model's fields make."""

    def cures(self) -> list[str]:
        """What to try if the model ignores z: options that it does not use yet, each written as in a recipe."""
        return []

    @classmethod
    @abstractmethod
    def field_kinds(cls, config: Any) -> Sequence[type[Field]]:
        """The classes of the fields that a model with this configuration reads.

        Args:
            config: a configuration, or the section ``model`` of a recipe as an object with the same attributes.
        """

    @classmethod
    def learn_fields(cls, config: Any, rows: Any, options: FieldOptions) -> Fields:
        """The fields of a new model, whose tokenizers are trained on a corpus.

        Args:
            config: see `field_kinds`.
            rows: the train split.
            options: options of the tokenizers.
        """
        return Fields.learn(cls.field_kinds(config), rows, options)

    @classmethod
    def load_fields(cls, run: str, config: Any) -> Fields:
        """The fields of a trained model.

        Args:
            run: the folder of the run, or the model's name on the Hub.
            config: see `field_kinds`.
        """
        return Fields.load(cls.field_kinds(config), run)

    def start(self, rows: Any, seed: int) -> None:
        """Make a new model ready for a corpus before it is trained; by default there is nothing to do.

        Args:
            rows: the prepared train split.
            seed: seed of everything random.
        """

    @property
    def has_latent(self) -> bool:
        """Whether the model has a z. If not, z is empty, and the score of one draw is the exact log-likelihood."""
        return bool(self.config.latent_size)

    @property
    def normalizes_batches(self) -> bool:
        """Whether training normalises by the statistics of a batch, which must then be a random sample of the data."""
        return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.modules())

    @property
    def vector_size(self) -> int:
        """Size of the vector of a text: Z, plus the number of classes if the model has classes."""
        return self.config.latent_size

    def inference_modules(self) -> Iterable[nn.Module]:
        """The modules that only the posterior q(z | x) uses."""
        return ()

    def inference_parameters(self) -> Iterator[nn.Parameter]:
        """phi, the parameters that only the posterior q(z | x) uses."""
        for module in self.inference_modules():
            yield from module.parameters()

    def generative_parameters(self) -> Iterator[nn.Parameter]:
        """theta, all other parameters: those of p(x | z) p(z)."""
        inference = {id(parameter) for parameter in self.inference_parameters()}
        return (parameter for parameter in self.parameters() if id(parameter) not in inference)

    def forward(
        self,
        *,
        samples: int = 1,
        draw: Draw = pathwise,
        refinement: Refinement | None = None,
        kl_weight: float = 1.0,
        **batch: Tensor,
    ) -> VAEOutput:
        """Read the batch, draw z, and score the batch given each draw.

        Args:
            samples: K, the number of draws.
            draw: function that draws z from the posterior.
            refinement: how each posterior is refined before z is drawn; None: the encoder's posterior is used.
            kl_weight: weight of the KL divergence in the bound that the refinement raises.
            **batch: the tensors of the model's fields.
        """
        refines = refinement is not None and self.has_latent
        # The refinement steps run without autocast, so the source of a conditional model is read without it, too.
        with torch.autocast(self.device.type, enabled=False) if refines else nullcontext():
            reading = self.read(**batch)
        if refinement is not None and self.has_latent:
            reading = refined_reading(self, reading, refinement, kl_weight)
        z, weights = draw(reading.posterior, samples)
        auxiliary = reading.auxiliary.items() if self.training else ()
        return VAEOutput(
            posterior=along(reading.posterior, z),
            prior=along(reading.prior, z),
            z=z,
            score=reading.score(z),
            weights=weights,
            auxiliary={name: score(z) for name, score in auxiliary},
        )

    def keep_inference_network(self, source: Self) -> None:
        """Copy the modules of q(z | x) from ``source`` and leave all others as they are (Li et al. 2019)."""
        for own, other in zip(self.inference_modules(), source.inference_modules(), strict=True):
            own.load_state_dict(other.state_dict())

    def keep_all_but_prior(self, source: Self) -> None:
        """Copy every module of ``source`` except the prior."""
        for name, module in self.named_children():
            if name != "prior":
                module.load_state_dict(getattr(source, name).state_dict())

    def start_from(self, source: Self) -> None:
        """Copy the weights of a trained model that has no z, or the same kind of z as this one.

        If the trained model has no z, the weights through which the decoder reads z start at 0, so that this model
        first computes the same as the trained one, whatever z is. Parameters that the trained model lacks keep their
        initial values.

        Raises:
            UserError: if the models differ in more than z.
        """
        ours, theirs = (model._structure(source.has_latent) for model in (self, source))
        differing = [name for name in ours | theirs if ours.get(name) != theirs.get(name)]
        if differing:
            raise UserError(
                "expected to start from a model with the same sizes and either no z or the same one, got another "
                f"{', '.join(differing)}: train it with the same tokenizer and the same section model"
            )
        started, given = self.state_dict(), source.state_dict()
        for name, weight in started.items():
            if name in given and given[name].shape == weight.shape:
                started[name] = given[name]
            elif name.startswith("decoder."):
                started[name] = torch.zeros_like(weight)
                if name in given:  # the columns for the words come first, those for z behind them
                    started[name][:, : given[name].shape[1]] = given[name]
        self.load_state_dict(started)

    def _structure(self, with_latent: bool) -> dict[str, Any]:
        """The options that two models must share if one starts from the other; an option of a part is ``part.option``.

        Args:
            with_latent: whether the trained model has a z.
        """
        names = self.shared_fields + (self.latent_fields if with_latent else ())
        unlike = {*self.training_only, *(() if with_latent else self.of_latent)}
        options: dict[str, Any] = {}
        for name in names:
            value = getattr(self.config, name)
            parts = value.items() if isinstance(value, dict) else ()
            options |= {f"{name}.{key}": own for key, own in parts if key not in unlike} or {name: value}
        return options


class TextModel(VAEModel):
    """A model that writes tokens: it has a ``decoder`` with word vectors and an ``output_layer``.

    The weight of the output layer may be tied to the word vectors.

    Raises:
        UserError: if the configuration has no vocabulary.
    """

    # `transformers` ties these if the configuration has tie_word_embeddings.
    _tied_weights_keys = {"output_layer.linear.weight": "decoder.embedding.weight"}  # noqa: RUF012

    def __init__(self, config: VAEConfig) -> None:
        super().__init__(config)
        if config.vocab_size <= 0:
            raise UserError(
                f"expected a positive vocab_size, got {config.vocab_size}: set it from the tokenizer"
            )

    def post_init(self) -> None:
        """Initialise the weights of all parts, and tie them if the configuration says so."""
        if self.config.tie_word_embeddings:
            # A checkpoint stores a tied weight once, so `transformers` must not warn that the other name is missing.
            self._keys_to_ignore_on_save = list(self._tied_weights_keys)
        super().post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Uniform weights, as published (He et al. 2019); convolutions and norms keep torch's defaults."""
        reach = self.config.initial_range
        if isinstance(module, nn.Embedding):
            reach_of_words = self.config.initial_embedding_range
            init.uniform_(module.weight, -reach_of_words, reach_of_words)
        elif isinstance(module, (nn.LSTM, nn.Linear)) and reach is not None:
            for parameter in module.parameters(recurse=False):
                init.uniform_(parameter, -reach, reach)

    def _build_output_layer(self, states_size: int) -> OutputLayer:
        """An output layer for decoder states of this size, which can be tied if the configuration says so."""
        config = self.config
        tied_size = config.embedding_size if config.tie_word_embeddings else None
        return OutputLayer(states_size, config.vocab_size, weight_size=tied_size)

    def _dropped(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """The decoder inputs (B, T); in training each word becomes UNK with probability ``word_dropout``."""
        config = self.config
        if not (self.training and config.word_dropout):
            return inputs
        return drop_words(
            inputs, mask, config.word_dropout, unknown_id=config.unk_token_id, keep_id=config.bos_token_id
        )
