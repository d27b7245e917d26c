"""What all models share: they read a batch, draw z, and score the batch under it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
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
"""Draws K times from a posterior; what flows back through the draws is its choice."""


class VAEModel(PreTrainedModel):
    """A model of x that returns a `VAEOutput`, for objectives and estimates of every kind.

    A kind of model is one subclass: it names its configuration and its fields, and reads a batch.

    Attributes:
        used_by: what loads it, for messages.
        cures: what to try if its latent is not used, a sentence without its end.
        training_only: options of parts that a model may have otherwise than the trained one that it starts from.
        of_latent: further such options if the trained model has no z.
    """

    base_model_prefix = ""
    main_input_name = "inputs"
    # Without this the Trainer would take the loss for a sum over the accumulation steps, and not divide it.
    accepts_loss_kwargs = False
    shared_fields: ClassVar[tuple[str, ...]] = ()
    latent_fields: ClassVar[tuple[str, ...]] = ()
    training_only: ClassVar[tuple[str, ...]] = ("dropout", "variational_dropout", "recurrent_dropout")
    of_latent: ClassVar[tuple[str, ...]] = ("skip_connection",)
    used_by: ClassVar[str] = "the class that it was made for"
    cures: ClassVar[str] = (
        "Try objective.target_rate in place of kl_weight, or a higher one, or objective.free_bits"
    )

    @abstractmethod
    def read(self, **batch: Tensor) -> Reading:
        """Posterior, prior and score of a batch, whose tensors are those that the model's fields make."""

    @classmethod
    @abstractmethod
    def field_kinds(cls, config: Any) -> Sequence[type[Field]]:
        """The fields that a model reads.

        Args:
            config: a configuration, or a recipe's section ``model`` as an object with the same attributes.
        """

    @classmethod
    def learn_fields(cls, config: Any, rows: Any, options: FieldOptions) -> Fields:
        """The fields of a new model, with tokenizers that are learnt from a corpus.

        Args:
            config: see `field_kinds`.
            rows: the train split.
            options: of the tokenizers.
        """
        return Fields.learn(cls.field_kinds(config), rows, options)

    @classmethod
    def load_fields(cls, run: str, config: Any) -> Fields:
        """The fields of a trained model.

        Args:
            run: its folder, or its name on the Hub.
            config: see `field_kinds`.
        """
        return Fields.load(cls.field_kinds(config), run)

    def start(self, rows: Any, seed: int) -> None:
        """Make a new model ready for a corpus before it is trained; by default there is nothing to do.

        Args:
            rows: the prepared train split.
            seed: of all that is random.
        """

    @property
    def has_latent(self) -> bool:
        """Whether there is a z; without, the likelihood is exact and one draw of nothing gives it."""
        return bool(self.config.latent_size)

    @property
    def vector_size(self) -> int:
        """Size of the vectors that stand for a text: z and, with classes, their probabilities."""
        return self.config.latent_size

    def inference_modules(self) -> Iterable[nn.Module]:
        """The modules that only q(z | x) needs."""
        return ()

    def inference_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of q(z | x) alone, phi."""
        for module in self.inference_modules():
            yield from module.parameters()

    def generative_parameters(self) -> Iterator[nn.Parameter]:
        """All other parameters: those of p(x | z) p(z), theta."""
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
        """Read the batch, draw z, and score the batch under each draw.

        Args:
            samples: K.
            draw: how z is drawn from the posterior.
            refinement: how each posterior is improved first; None: it is as the encoder gives it.
            kl_weight: weight of the KL in the refinement's bound.
            **batch: the tensors of the model's fields.
        """
        refines = refinement is not None and self.has_latent
        # What is read of a condition has the precision of the steps, which are computed without autocast.
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

    @contextmanager
    def without_dropout(self) -> Iterator[None]:
        """Evaluation mode inside the block; the mode is as before afterwards."""
        training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(training)

    def keep_inference_network(self, source: Self) -> None:
        """Copy the modules of q(z | x) of ``source``; all others stay as new as they are (Li et al. 2019)."""
        for own, other in zip(self.inference_modules(), source.inference_modules(), strict=True):
            own.load_state_dict(other.state_dict())

    def keep_all_but_prior(self, source: Self) -> None:
        """Copy every module of ``source`` but the prior."""
        for name, module in self.named_children():
            if name != "prior":
                module.load_state_dict(getattr(source, name).state_dict())

    def start_from(self, source: Self) -> None:
        """Take over the weights of a trained model, which has no z or a z like this one's.

        If it has none, this model first computes what it did, whatever z is, until training finds a use for z: the
        weights with which the decoder reads z start at 0. Parameters that the trained model lacks stay new.

        Raises:
            UserError: if the models differ in more than z.
        """
        ours, theirs = (model._structure(source.has_latent) for model in (self, source))
        differing = [name for name in ours | theirs if ours.get(name) != theirs.get(name)]
        if differing:
            raise UserError(
                "expected a model to start from with the same sizes, and without z or with the same one, got another "
                f"{', '.join(differing)}: train it with the same tokenizer and section model"
            )
        started, given = self.state_dict(), source.state_dict()
        for name, weight in started.items():
            if name in given and given[name].shape == weight.shape:
                started[name] = given[name]
            elif name.startswith("decoder."):
                started[name] = torch.zeros_like(weight)
                if name in given:  # with columns for z behind those for the words
                    started[name][:, : given[name].shape[1]] = given[name]
        self.load_state_dict(started)

    def _structure(self, with_latent: bool) -> dict[str, Any]:
        """Options that two models must share for one to start from the other; those of a part as ``part.option``.

        Args:
            with_latent: whether the model that it starts from has a z.
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
    """A model that writes tokens: it has a ``decoder`` with word vectors and an ``output_layer``, which may be tied.

    Raises:
        UserError: if the configuration has no vocabulary.
    """

    # Followed by `transformers` when the configuration says tie_word_embeddings.
    _tied_weights_keys = {"output_layer.linear.weight": "decoder.embedding.weight"}  # noqa: RUF012

    def __init__(self, config: VAEConfig) -> None:
        super().__init__(config)
        if config.vocab_size <= 0:
            raise UserError(
                f"expected a positive vocab_size, got {config.vocab_size}: set it from the tokenizer"
            )

    def post_init(self) -> None:
        """Tie and initialise what the parts are made of."""
        if self.config.tie_word_embeddings:
            # A checkpoint holds a tied weight once; its absence under the other name is no loss to warn of.
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
        """The output layer for states of a size, ready to be tied if the configuration says so."""
        config = self.config
        tied_size = config.embedding_size if config.tie_word_embeddings else None
        return OutputLayer(states_size, config.vocab_size, weight_size=tied_size)

    def _dropped(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Decoder inputs (B, T), in training with words replaced by UNK at the rate ``word_dropout``."""
        config = self.config
        if not (self.training and config.word_dropout):
            return inputs
        return drop_words(
            inputs, mask, config.word_dropout, unknown_id=config.unk_token_id, keep_id=config.bos_token_id
        )
