"""Where products of matrices may be computed in bf16, and where that is faster."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from textvae.support.errors import UserError


def bf16_is_fast(use_cpu: bool = False) -> bool:
    """Whether products of matrices are faster in bf16 than in fp32 here.

    They are on NVIDIA GPUs from Ampere on, and on CPUs with AMX or AVX-512-BF16; others emulate it, and are slower.

    Args:
        use_cpu: also where there is a GPU.
    """
    if torch.cuda.is_available() and not use_cpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def check_bf16(model: nn.Module, device: torch.device) -> None:
    """Refuse what torch would refuse in the midst of a step, with a message that helps no one.

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
    """Whether this CPU computes an LSTM in bf16, which oneDNN does not emulate everywhere; found by trying."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        try:
            nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
        except RuntimeError:
            return False
    return True
