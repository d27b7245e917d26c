"""p(x | z), or p(y | x, z) given a source x, as a language model that `transformers` can generate from."""

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
    """A decoder's cache, in the form that `GenerationMixin` passes from step to step."""

    def __init__(self, tensors: Cache) -> None:
        self.tensors = tensors

    def reorder_cache(self, beam_index: Tensor) -> None:
        """Keep the rows of the cache that beam search chose, and in its order.

        Args:
            beam_index: row numbers, (N,).
        """
        self.tensors = tuple(tensor.index_select(0, beam_index) for tensor in self.tensors)


class _Gumbel(LogitsProcessor):
    """Draws a word from the distribution given by the scores, and makes all other words impossible.

    `GenerationMixin` takes no random generator. Therefore this processor runs after all others: it adds Gumbel noise to
    the scores that they leave, and keeps the word with the largest sum, which greedy search must then choose.

    Args:
        generator: random generator on the CPU.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (N, V): 0 for the word that was drawn and -inf for all others."""
        uniform = torch.rand(scores.shape, generator=self.generator, dtype=torch.double)
        gumbel = -(-uniform.clamp_min(torch.finfo(torch.double).tiny).log()).log()
        # In float64 on the host, because some devices have no float64.
        chosen = (scores.cpu().double() + gumbel).argmax(-1, keepdim=True)
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen.to(scores.device), 0.0)


class ConditionalLanguageModel(PreTrainedModel, GenerationMixin):
    """The decoder and output layer of a model, which write a sentence for each z, and for each source if it has one.

    Each step feeds one token and the decoder's cache, so that a token's cost does not depend on its position. The
    source is not part of the cache: all beams of a sentence share it, so that it needs no reordering.

    Args:
        config: a configuration with the special ids.
        decoder: function from ids, z, the source (if there is one) and a cache to states and the next cache.
        output_layer: layer from states to logits.
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
        """False: the decoder makes its own cache, so that `GenerationMixin` must not make one for attention."""
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
            source: N source sentences; None if the model reads no source.
            generator: random generator, used if words are drawn; None: the global random state.
            **options: options of `GenerationMixin.generate`.
        """
        drawn, beam = bool(options.get("do_sample")), (options.get("num_beams") or 1) > 1
        self.generator = generator if drawn and not beam else None
        begin = torch.full((len(z), 1), self.config.bos_token_id, device=z.device)
        # `GenerationMixin` repeats every tensor for each beam, so the source is passed as tensors.
        given = {} if source is None else source._asdict()
        # Beam search that draws words uses the global random state.
        with seeded(generator if drawn and beam else None):
            return self.generate(begin, z=z, **given, **options)  # type: ignore[misc, return-value]

    def _get_logits_processor(
        self, generation_config: GenerationConfig, *args: Any, **kwargs: Any
    ) -> LogitsProcessorList:
        """The processors of the parent class, followed by the one that draws words if there is a generator."""
        processors = super()._get_logits_processor(generation_config, *args, **kwargs)  # type: ignore[misc]
        if self.generator is not None:
            processors.append(_Gumbel(self.generator))
            # The sampling options are already part of the processors. If `GenerationMixin` also drew the one word that
            # is left, it would change the global random state.
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
        """The arguments of `forward`: if there is a cache, only the last token is read."""
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
        """Logits (N, 1, V) of the next token after ``input_ids`` (N, T); ``past_key_values`` holds what came before."""
        cache = None if past_key_values is None else past_key_values.tensors
        states, cache = self.decoder(input_ids, z[None], *source, cache=cache)
        return CausalLMOutputWithPast(
            logits=self.output_layer.logits(states[0, :, -1:]),
            past_key_values=DecoderState(cache),  # type: ignore[arg-type]
        )
