"""Where bf16 works for matrix products, and where it is faster."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from textvae.support.errors import UserError


def bf16_is_fast(use_cpu: bool = False) -> bool:
    """Whether matrix products are faster in bf16 than in fp32 on this machine.

    They are on NVIDIA GPUs since Ampere, and on CPUs with AMX or AVX-512-BF16; others emulate bf16 and are slower.

    Args:
        use_cpu: ask about the CPU even if there is a GPU.
    """
    if torch.cuda.is_available() and not use_cpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def check_bf16(model: nn.Module, device: torch.device) -> None:
    """Refuse bf16 where torch would fail in the middle of a step with an unhelpful message.

    Raises:
        UserError: if the model has LSTMs and the device is a CPU that cannot compute them in bf16.
    """
    recurrent = any(isinstance(module, nn.LSTM) for module in model.modules())
    if device.type == "cpu" and recurrent and not lstm_in_bf16():
        raise UserError(
            "expected a CPU with AVX-512 for LSTMs in bf16, got one without: leave bf16 out, or use a GPU"
        )


@cache
def lstm_in_bf16() -> bool:
    """Whether this CPU can compute an LSTM in bf16, found by trying; oneDNN does not emulate it on every CPU."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        try:
            nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
        except RuntimeError:
            return False
    return True
