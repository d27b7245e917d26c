"""What all models share as models of `transformers`."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Literal, Self, get_args, get_origin

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers import initialization as init

from textvae.errors import UserError
from textvae.modules.decoders import drop_words
from textvae.modules.output_layer import OutputLayer


def check_choices(config: PretrainedConfig, kind: type[PretrainedConfig]) -> None:
    """Refuse a value that is not one of those that the annotations of ``kind`` list, or a rate that is none.

    Raises:
        UserError: which names what can be chosen.
    """
    for name, annotation in inspect.get_annotations(kind, eval_str=True).items():
        choices, value = get_args(annotation), getattr(config, name)
        if get_origin(annotation) is Literal and value not in choices:
            raise UserError(f"expected {name} to be one of {', '.join(choices)}, got {value!r}")
        if annotation is float and name.endswith("dropout") and not 0 <= value <= 1:
            raise UserError(f"expected {name} from 0 to 1, got {value}")


class VAEModel(PreTrainedModel):
    """A model with a ``decoder`` and an ``output_layer``, which may be tied, that returns a `VAEOutput`.

    Attributes:
        shared_fields: of the configuration, what a model has in common with any that it starts from.
        latent_fields: what it has in common, beside those, with one that has a z.

    Raises:
        UserError: if the configuration has no vocabulary.
    """

    base_model_prefix = ""
    main_input_name = "inputs"
    # Followed by `transformers` when the configuration says tie_word_embeddings.
    _tied_weights_keys = {"output_layer.linear.weight": "decoder.embedding.weight"}  # noqa: RUF012
    # Without this the Trainer would take the loss for a sum over the accumulation steps, and not divide it.
    accepts_loss_kwargs = False
    shared_fields: ClassVar[tuple[str, ...]]
    latent_fields: ClassVar[tuple[str, ...]]

    def __init__(self, config: Any) -> None:
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

    def start_from(self, source: Self) -> None:
        """Take over the weights of a trained model, one without z or with a z like this one's.

        A model without z goes on as it was, whatever z is, until training finds a use for it: the weights with which
        the decoder reads z are 0 at first. What the trained model does not have stays as new as it is.

        Raises:
            UserError: if the models differ in more than z.
        """
        fields = self.shared_fields + (self.latent_fields if source.config.latent_size else ())
        differing = [name for name in fields if getattr(self.config, name) != getattr(source.config, name)]
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

    def _init_weights(self, module: nn.Module) -> None:
        """Uniform weights, as published (He et al. 2019); convolutions and norms keep torch's defaults."""
        reach = self.config.initial_range
        if isinstance(module, nn.Embedding):
            init.uniform_(
                module.weight, -self.config.initial_embedding_range, self.config.initial_embedding_range
            )
        elif isinstance(module, (nn.LSTM, nn.Linear)) and reach is not None:
            for parameter in module.parameters(recurse=False):
                init.uniform_(parameter, -reach, reach)

    def _build_output_layer(self, states_size: int) -> OutputLayer:
        """The output layer for states of a size, ready to be tied if the configuration says so."""
        config = self.config
        tied_size = config.embedding_size if config.tie_word_embeddings else None
        return OutputLayer(states_size, config.vocab_size, weight_size=tied_size)

    def _dropped(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Decoder inputs (B, T) with the words that `word_dropout` takes in training."""
        config = self.config
        if not (self.training and config.word_dropout):
            return inputs
        return drop_words(
            inputs, mask, config.word_dropout, unknown_id=config.unk_token_id, keep_id=config.bos_token_id
        )
