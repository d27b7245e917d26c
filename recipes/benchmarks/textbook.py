"""The reference for the benchmarks: a sentence VAE written plainly, as in published code.

It uses fp32, `nn.LSTM`, the logits of the whole batch, `F.cross_entropy` and padded batches. It computes the importance
weights of one sentence after another in chunks of 100 samples, and its generation reads the whole prefix again for each
token. The benchmarks run it beside the package in one process, because machines drift. Tests check that both compute
the same from the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from textvae.models.language import TextVAEModel
from textvae.modules.decoders import DILATIONS


class Encoder(nn.Module):
    """An LSTM encoder; its summary is the last state.

    Args:
        vocabulary_size: number of words, V.
        embedding_size: size of the word vectors.
        hidden_size: size of the states, D.
    """

    def __init__(self, vocabulary_size: int, embedding_size: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.lstm = nn.LSTM(embedding_size, hidden_size, batch_first=True)

    def forward(self, targets: Tensor, lengths: Tensor) -> Tensor:
        """Last states (B, D) of sentences (B, T)."""
        states, _ = self.lstm(self.embedding(targets))
        return states[torch.arange(len(targets), device=targets.device), lengths - 1]


class LSTMDecoder(nn.Module):
    """An LSTM that starts from z and reads z beside each word (Bowman et al. 2016; He et al. 2019).

    Args:
        vocabulary_size: number of words, V.
        embedding_size: size of the word vectors.
        hidden_size: size of the states, D.
        latent_size: size of z, Z.
        dropout: dropout rate on the word vectors and the states.
    """

    def __init__(
        self, vocabulary_size: int, embedding_size: int, hidden_size: int, latent_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.initial_cell = nn.Linear(latent_size, hidden_size, bias=False)
        self.lstm = nn.LSTM(embedding_size + latent_size, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor, z: Tensor) -> Tensor:
        """States (B, T, D) after each input (B, T), for z (B, Z)."""
        embedded = self.dropout(self.embedding(inputs))
        beside = z[:, None].expand(-1, inputs.shape[1], -1)
        cell = self.initial_cell(z)[None]
        states, _ = self.lstm(torch.cat([embedded, beside], -1), (cell.tanh(), cell))
        return self.dropout(states)


class CausalBlock(nn.Module):
    """A 1x1 convolution, a dilated causal convolution and a 1x1 convolution, with a residual connection.

    Args:
        channels: number of channels, D.
        dilation: distance between the inputs of the convolution, in steps.
        dropout: dropout rate on the output of the block, before it is added.
    """

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.past = 2 * dilation
        self.norm = nn.LayerNorm(channels)
        self.shrink = nn.Linear(channels, channels // 2)
        self.convolution = nn.Conv1d(channels // 2, channels // 2, 3, dilation=dilation)
        self.expand = nn.Linear(channels // 2, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """The next layer's states (B, T, D)."""
        inner = self.shrink(self.norm(states).relu()).relu()
        inner = self.convolution(functional.pad(inner.transpose(1, 2), (self.past, 0)))
        return states + self.dropout(self.expand(inner.transpose(1, 2).relu()))


class ConvolutionDecoder(nn.Module):
    """Dilated causal convolutions that read z beside each word (Yang et al. 2017).

    Args:
        vocabulary_size: number of words, V.
        embedding_size: size of the word vectors.
        hidden_size: number of channels, D.
        latent_size: size of z, Z.
        dropout: dropout rate on the word vectors, in the blocks and on the states.
        dilations: the dilation of each block.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int,
        hidden_size: int,
        latent_size: int,
        dropout: float,
        dilations: Sequence[int],
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.projection = nn.Linear(embedding_size + latent_size, hidden_size)
        self.blocks = nn.Sequential(*(CausalBlock(hidden_size, dilation, dropout) for dilation in dilations))
        self.norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor, z: Tensor) -> Tensor:
        """States (B, T, D) after each input (B, T), for z (B, Z)."""
        embedded = self.dropout(self.embedding(inputs))
        beside = z[:, None].expand(-1, inputs.shape[1], -1)
        states = self.blocks(self.projection(torch.cat([embedded, beside], -1)))
        return self.dropout(self.norm(states).relu())


class TextbookVAE(nn.Module):
    """Encoder, Gaussian latent, decoder and output layer, with the architecture and the weights of a `TextVAEModel`.

    Args:
        model: a model with one-layer LSTMs, or a one-layer LSTM encoder and a dilated convolution.
    """

    def __init__(self, model: TextVAEModel) -> None:
        super().__init__()
        config = model.config
        sizes = (config.vocab_size, config.embedding_size, config.hidden_size)
        self.encoder = Encoder(*sizes)
        self.mean = nn.Linear(config.hidden_size, config.latent_size, bias=False)
        self.log_variance = nn.Linear(config.hidden_size, config.latent_size, bias=False)
        self.decoder: LSTMDecoder | ConvolutionDecoder = (
            LSTMDecoder(*sizes, config.latent_size, config.dropout)
            if config.decoder["kind"] == "lstm"
            else ConvolutionDecoder(
                *sizes, config.latent_size, config.dropout, DILATIONS[config.decoder["dilations"]]
            )
        )
        self.output = nn.Linear(config.hidden_size, config.vocab_size)
        self.to(model.device, model.dtype)
        self.load_state_dict({textbook_name(name): tensor for name, tensor in model.state_dict().items()})

    def encode(self, targets: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, (B, Z) each, of sentences (B, T)."""
        last = self.encoder(targets, lengths)
        return self.mean(last), self.log_variance(last)

    def logits(self, inputs: Tensor, z: Tensor) -> Tensor:
        """Logits (B, T, V) of the token after each input (B, T), for z (B, Z)."""
        return self.output(self.decoder(inputs, z))

    def reconstruction(self, inputs: Tensor, targets: Tensor, mask: Tensor, z: Tensor) -> Tensor:
        """-log p(x | z) of each sentence in nats, (B,)."""
        logits = self.logits(inputs, z)
        losses = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return (losses.view_as(targets) * mask).sum(1)

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """-ELBO, mean over the batch."""
        mean, log_variance = self.encode(batch["targets"], batch["lengths"])
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return (self.reconstruction(batch["inputs"], batch["targets"], batch["mask"], z) + kl).mean()


def textbook_name(name: str) -> str:
    """The name that a parameter of a `TextVAEModel` has here."""
    return name.removeprefix("posterior.").replace("output_layer.linear.", "output.")


def train_step(model: TextbookVAE, optimizer: torch.optim.Optimizer, batch: Mapping[str, Tensor]) -> float:
    """Do one training step; returns its loss, read back at once as published loops do."""
    optimizer.zero_grad()
    loss = model.loss(batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    return loss.item()


@torch.no_grad()
def iw_nll(model: TextbookVAE, batch: Mapping[str, Tensor], samples: int, chunk: int = 100) -> list[float]:
    """The importance-weighted bound on -log p(x) of each sentence in nats, one sentence after another."""
    found = []
    for row, length in enumerate(batch["lengths"].tolist()):
        inputs, targets, mask = (
            batch[name][row : row + 1, :length] for name in ("inputs", "targets", "mask")
        )
        mean, log_variance = model.encode(targets, batch["lengths"][row : row + 1])
        scale = (0.5 * log_variance).exp()
        log_weights = []
        for start in range(0, samples, chunk):
            count = min(chunk, samples - start)
            noise = torch.randn(count, mean.shape[1], dtype=mean.dtype, device=mean.device)
            z = mean + scale * noise
            nll = model.reconstruction(
                inputs.expand(count, -1), targets.expand(count, -1), mask.expand(count, -1), z
            )
            # log p(z) - log q(z | x); the constants cancel.
            ratio = 0.5 * (noise.square() - z.square()).sum(1) + scale.log().sum()
            log_weights.append(ratio - nll)
        found.append(math.log(samples) - torch.cat(log_weights).logsumexp(0).item())
    return found


@torch.no_grad()
def generate(model: TextbookVAE, z: Tensor, begin: int, tokens: int, beams: int = 1) -> Tensor:
    """Ids (N, tokens) of beam search, or greedy with one beam, for z (N, Z); EOS does not end a sentence here."""
    z = z.repeat_interleave(beams, 0)
    ids = torch.full((len(z), 1), begin, device=z.device)
    # All beams of a sentence begin with the same prefix, so only one may count at the first step.
    scores = torch.full((len(z) // beams, beams), -math.inf, dtype=z.dtype, device=z.device)
    scores[:, 0] = 0
    first = torch.arange(0, len(z), beams, device=z.device)[:, None]
    for _ in range(tokens):
        logits = model.logits(ids, z)[:, -1]
        paths = scores.view(-1, 1) + logits.log_softmax(-1)
        scores, best = paths.view(len(scores), -1).topk(beams)
        kept, word = best // logits.shape[1], best % logits.shape[1]
        ids = torch.cat([ids[(first + kept).flatten()], word.view(-1, 1)], 1)
    return ids[first.flatten(), 1:]
