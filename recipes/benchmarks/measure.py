"""What the benchmarks share: models, random text, the FLOPs of a model, and measuring of time and memory."""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from textvae.models.language import TextVAEConfig, TextVAEModel
from textvae.modules.decoders import DILATIONS
from textvae.objectives.elbo import ELBO
from textvae.support.errors import UserError
from textvae.support.precision import lstm_in_bf16
from textvae.text.batches import Batch
from textvae.text.tokenizer import train_tokenizer

Result = TypeVar("Result")

VOCABULARY = 10_000
"""Number of words, as in Penn Treebank, unless the vocabulary itself is varied."""

BATCH = 32
"""Sentences in a training step, as published."""

MODELS: dict[str, dict[str, Any]] = {
    "lstm-256": {"embedding_size": 256, "hidden_size": 256},
    "lstm-1024": {"embedding_size": 512, "hidden_size": 1024},
    "dilated": {
        "embedding_size": 256,
        "hidden_size": 256,
        "decoder": {"kind": "dilated_convolution"},
        "dropout": 0.3,
        "initial_range": None,
    },
}
"""Models by name; Z is 32. The first is the published size on Penn Treebank, the last is as in ``ptb_dilated.yaml``."""

LENGTHS = {
    0.0: 2, 0.01: 4, 0.05: 7, 0.1: 10, 0.2: 13, 0.3: 16, 0.4: 19, 0.5: 21, 0.6: 24, 0.7: 27, 0.8: 30, 0.9: 35,
    0.95: 40, 0.99: 50, 0.999: 64, 1.0: 83,
}  # fmt: skip
"""Quantiles of the lengths of Penn Treebank's 42,068 training sentences, with EOS: mean 22.1, deviation 10.1."""

PRODUCT = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of the matrices whose product measures the speed of the machine."""


# ---- models and text


def new_tokenizer(vocabulary_size: int) -> PreTrainedTokenizerBase:
    """A tokenizer with the special tokens and the artificial words w0, w1, ..., ``vocabulary_size`` in all."""
    return train_tokenizer([" ".join(f"w{word}" for word in range(vocabulary_size - 4))], "words")


def random_sentences(count: int, vocabulary_size: int, seed: int = 0) -> Iterator[str]:
    """Random sentences of `new_tokenizer`'s words: lengths as in `LENGTHS`, the k-th word with weight 1 / k (Zipf)."""
    generator = np.random.default_rng(seed)
    shares = np.cumsum(1 / np.arange(1, vocabulary_size - 3))
    words = np.array([f"w{word}" for word in range(vocabulary_size - 4)], dtype=object)
    lengths = np.interp(generator.random(count), list(LENGTHS), list(LENGTHS.values())).round().astype(int)
    for length in lengths:
        drawn = np.searchsorted(shares, generator.random(length - 1) * shares[-1], side="right")
        yield " ".join(words[drawn])


def new_config(name: str, vocabulary_size: int) -> TextVAEConfig:
    """The configuration of one of `MODELS`."""
    return TextVAEConfig(vocab_size=vocabulary_size, latent_size=32, **MODELS[name])


def new_model(config: TextVAEConfig, device: str) -> TextVAEModel:
    """A model in evaluation mode, with the same weights at each call."""
    torch.manual_seed(0)
    model = TextVAEModel(config).eval()
    torch.nn.Module.to(model, device)  # model.to has no types because of a decorator
    return model


def endless(model: TextVAEModel) -> TextVAEModel:
    """The model, changed so that it never generates EOS: it then writes exactly the requested number of tokens."""
    with torch.no_grad():
        model.output_layer.linear.bias[model.config.eos_token_id] = -1e4
    return model


def precision(dtype: str, device: str) -> AbstractContextManager:
    """A context in which matrix products are computed in "fp32" or in "bf16"."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=dtype == "bf16")


def dtypes(device: str) -> tuple[str, ...]:
    """The dtypes that the device supports: a CPU without AVX-512 has no LSTM in bf16."""
    return ("fp32", "bf16") if torch.device(device).type != "cpu" or lstm_in_bf16() else ("fp32",)


def train_step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, dtype: str, device: str
) -> None:
    """One training step without the trainer."""
    objective = ELBO()
    with precision(dtype, device):
        output = model(**batch, draw=objective.draw)
    objective(output, 1.0).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    optimizer.zero_grad()


# ---- cost


def flops(config: TextVAEConfig, read: tuple[int, int] = (0, 0), written: tuple[int, int] = (0, 0)) -> int:
    """Floating-point operations of a forward pass: two for each multiplication in a matrix product, no others.

    To read a token, an LSTM needs 2 · 4D (E + D). To write a token, an LSTM needs 2 · 4D (E + Z + D), because its input
    also contains z. A dilated convolution with C channels needs 2C (E + Z), and in each block 2 · 2 · C C/2 for the
    outer convolutions and 2 · 3 (C/2)² for the inner one. The logits of a token need 2DV. For each sentence read, the
    posterior needs 2 · 2DZ; for each sentence written by an LSTM, the initial state needs 2DZ.

    Padding and repeated computation do not count. A backward pass needs twice as much.

    Args:
        config: configuration with an LSTM encoder; LSTMs have one layer.
        read: number of sentences and of tokens that are encoded.
        written: number of sentences and of tokens that are decoded or scored, once for each of K samples.
    """
    d, e, z = config.hidden_size, config.embedding_size, config.latent_size
    if config.decoder["kind"] == "lstm":
        start, decoder = 2 * d * z, 8 * d * (e + z + d)
    else:
        inner = d // 2
        blocks = len(DILATIONS[config.decoder["dilations"]])
        start, decoder = 0, 2 * d * (e + z) + blocks * (4 * d * inner + 6 * inner**2)
    token = decoder + 2 * d * config.vocab_size
    return read[0] * 4 * d * z + read[1] * 8 * d * (e + d) + written[0] * start + written[1] * token


def clock(device: str) -> float:
    """The time in seconds, after the device has finished all its work."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


def seconds_of(call: Callable[[], Any], device: str) -> float:
    """Seconds that a call takes."""
    begin = clock(device)
    call()
    return clock(device) - begin


def gemm_rate(dtype: str, device: str) -> float:
    """FLOPs per second of a large matrix product, the best of three."""
    size = PRODUCT[torch.device(device).type]
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    a, b = torch.randn(2, size, size, device=device).to(kind)
    torch.mm(a, b)
    return 2 * size**3 / min(seconds_of(lambda: torch.mm(a, b), device) for _ in range(3))


def with_peak(call: Callable[[], Result], device: str) -> tuple[Result, float | None]:
    """A call's result and its peak memory in MiB: on the GPU, or resident in the process; None if it is unknown."""
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return call(), torch.cuda.max_memory_allocated() / 2**20
    forget = Path("/proc/self/clear_refs")  # Linux; writing 5 resets the peak
    if not forget.exists():
        return call(), None
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc returns free memory; other libraries lack this function
    forget.write_text("5")
    result = call()
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return result, int(found[1]) / 2**10 if found else None


def ratio(these: list[float], those: list[float]) -> float:
    """The median over the rounds of the ratio of seconds; a drift of the machine between rounds cancels."""
    return median(a / b for a, b in zip(these, those, strict=True))


# ---- the command line


def new_parser(description: str, steps: int, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--only", action="append", metavar="PATTERN", help="repeat for several patterns; default: all"
    )
    parser.add_argument("--steps", type=int, default=steps, metavar="N", help="amount of work in a round")
    parser.add_argument(
        "--rounds", type=int, default=rounds, metavar="N", help="number of rounds; results are medians"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads; default: torch's choice")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    return parser


def prepare(arguments: argparse.Namespace) -> None:
    """Set up torch as the arguments say and as the trainer does."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    # The trainer does this too; here it applies to all contenders.
    torch.set_flush_denormal(True)
    # Exclude the objects of the libraries from garbage collection, so that it does not slow measurements.
    gc.freeze()


def chosen(names: list[str], patterns: list[str] | None) -> list[str]:
    """The names that match one of the patterns, such as ``train/*``.

    Raises:
        UserError: if no name matches.
    """
    found = [name for name in names if any(fnmatch(name, pattern) for pattern in patterns or ["*"])]
    if not found:
        raise UserError(f"expected --only to match one of {', '.join(names)}, got {' '.join(patterns or [])}")
    return found


def emit(line: dict[str, Any]) -> None:
    """Print one line of JSON, with numbers rounded to six digits."""

    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: rounded(part) for name, part in value.items()}
        if isinstance(value, list):
            return [rounded(part) for part in value]
        return float(f"{value:.6g}") if isinstance(value, float) else value

    print(json.dumps(rounded(line)), flush=True)
