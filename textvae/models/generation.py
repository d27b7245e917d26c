"""p(x | z), or p(y | x, z) of a source x, as a language model that `transformers` can generate from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    GenerationMixin,
    LogitsProcessor,
    LogitsProcessorList,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from textvae.modules.attention import Source
from textvae.modules.decoders import Cache
from textvae.modules.output_layer import OutputLayer
from textvae.support.randomness import seeded


class DecoderState:
    """A decoder's cache in the form that `GenerationMixin` carries from step to step."""

    def __init__(self, tensors: Cache) -> None:
        self.tensors = tensors

    def reorder_cache(self, beam_index: Tensor) -> None:
        """Keep the sentences (N,) that beam search chose."""
        self.tensors = tuple(tensor.index_select(0, beam_index) for tensor in self.tensors)


class _Gumbel(LogitsProcessor):
    """Leaves one word possible, drawn from the distribution of the scores.

    `GenerationMixin` cannot be given a generator. So a word is drawn here, from the scores that the options have left,
    by adding Gumbel noise and taking the largest; greedy search then takes the one that is left.

    Args:
        generator: of the draws, on the CPU.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (N, V) that are -inf but for the word that was drawn."""
        uniform = torch.rand(scores.shape, generator=self.generator, dtype=torch.double)
        gumbel = -(-uniform.clamp_min(torch.finfo(torch.double).tiny).log()).log()
        chosen = (scores.double() + gumbel.to(scores.device)).argmax(-1, keepdim=True)
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen, 0.0)


class ConditionalLanguageModel(PreTrainedModel, GenerationMixin):
    """A decoder and its output layer, borrowed from a model, for a given z, and maybe source, of each sentence.

    Each step feeds one token and the decoder's cache, so that a token's cost does not depend on its position. The
    source is no part of the cache: the beams of a sentence have the same, so that there is nothing to reorder.

    Args:
        config: has the special ids.
        decoder: makes states and a cache of ids, z, the source if there is one, and a cache.
        output_layer: makes logits of states.
    """

    config_class = PretrainedConfig
    main_input_name = "input_ids"

    def __init__(
        self,
        config: PretrainedConfig,
        decoder: Callable[..., tuple[Tensor, Cache]],
        output_layer: OutputLayer,
    ) -> None:
        super().__init__(config)
        self.decoder, self.output_layer = decoder, output_layer
        self.generator: torch.Generator | None = None
        self.generation_config = GenerationConfig(
            bos_token_id=config.bos_token_id,
            eos_token_id=config.eos_token_id,
            pad_token_id=config.pad_token_id,
        )

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        """The cache is the decoder's own; `GenerationMixin` must not make one for attention."""
        return False

    def write(
        self,
        z: Tensor,
        source: Source | None = None,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> Tensor:
        """Ids (N, T) decoded from z (N, Z).

        Args:
            z: (N, Z).
            source: of N sentences, if the model has one.
            generator: of the words, if they are drawn; None: the global random state.
            **options: of `GenerationMixin.generate`.
        """
        drawn, beam = bool(options.get("do_sample")), (options.get("num_beams") or 1) > 1
        self.generator = generator if drawn and not beam else None
        begin = torch.full((len(z), 1), self.config.bos_token_id, device=z.device)
        # `GenerationMixin` repeats what is a tensor for each beam.
        given = {} if source is None else source._asdict()
        # A beam that draws takes its draws from the global random state.
        with seeded(generator if drawn and beam else None):
            return self.generate(begin, z=z, **given, **options)  # type: ignore[misc, return-value]

    def _get_logits_processor(
        self, generation_config: GenerationConfig, *args: Any, **kwargs: Any
    ) -> LogitsProcessorList:
        """The parent's, and the drawing of words behind them if there is a generator."""
        processors = super()._get_logits_processor(generation_config, *args, **kwargs)  # type: ignore[misc]
        if self.generator is not None:
            processors.append(_Gumbel(self.generator))
            # The options of drawing are in the processors by now; a draw of the one word that is left possible would
            # move the global random state.
            generation_config.do_sample = False
        return processors

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: Tensor,
        z: Tensor,
        states: Tensor | None = None,
        keys: Tensor | None = None,
        mask: Tensor | None = None,
        past_key_values: DecoderState | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """The last token alone, once there is a cache."""
        unread = input_ids if past_key_values is None else input_ids[:, -1:]
        source = () if states is None or keys is None or mask is None else (Source(states, keys, mask),)
        return {"input_ids": unread, "z": z, "source": source, "past_key_values": past_key_values}

    def forward(
        self,
        input_ids: Tensor,
        z: Tensor,
        source: tuple[Source, ...] = (),
        past_key_values: DecoderState | None = None,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (N, 1, V) of the token behind ``input_ids`` (N, T), whose prefix ``past_key_values`` holds."""
        cache = None if past_key_values is None else past_key_values.tensors
        states, cache = self.decoder(input_ids, z[None], *source, cache=cache)
        return CausalLMOutputWithPast(
            logits=self.output_layer.logits(states[0, :, -1:]),
            past_key_values=DecoderState(cache),  # type: ignore[arg-type]
        )
