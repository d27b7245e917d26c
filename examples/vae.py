"""A text VAE in plain PyTorch, with the names of textvae. The VAE itself is about 70 lines, up to `kl_weight`.

    python examples/vae.py                                 the embedded corpus; about a minute on one core
    python examples/vae.py sentences.txt --maximum-words 20    a file with one sentence on each line

The generative process of a sentence x = x_1 ... x_T, and the posterior over the z that may have produced it:

    z ~ N(0, I)                                                 prior
    x_t ~ softmax(W s_t + b),  s_t = LSTM(x_<t, z)              decoder, output_layer
    q(z | x) = N(mean(h), exp(log_variance(h))),  h = LSTM(x)   encoder, posterior

Training maximises the evidence lower bound in nats per sentence, with one z = mean + deviation * noise for each x:

    ELBO = E_q[log p(x | z)] - beta KL(q(z | x) || p(z))        at beta = 1: ELBO <= log p(x)

A decoder that reads the words before x_t can ignore z. Two things make it use z: beta rises slowly from 0 (KL
annealing), and training replaces some of the words that the decoder reads by <unk> (word dropout).

Axes: K samples, B sentences, T tokens, Z latent; V words, E word vector, D state. In the package:

    Batch                   textvae/text/batches.py           holds any tensors of B examples
    collate                 textvae/text/fields.py            TextField is the only place that shifts, pads and masks
    Vocabulary              textvae/text/tokenizer.py         words or SentencePiece
    LSTMEncoder             textvae/modules/encoders.py       one of several encoders
    GaussianPosterior       textvae/modules/posteriors.py     one of several posteriors; priors.py has p(z)
    LSTMDecoder             textvae/modules/decoders.py       one of several decoders, with a cache for generation
    OutputLayer             textvae/modules/output_layer.py   gives the same numbers without the logits of a whole batch
    Reading                 textvae/models/outputs.py         beside VAEOutput, which also holds the drawn z
    TextVAEModel.read       textvae/models/language.py        works with any of the parts
    TextVAEModel.generate   textvae/models/generation.py      greedy decoding, sampling, beam search
    neg_elbo                textvae/objectives/elbo.py        ELBO has free bits and other terms
    kl_weight               textvae/objectives/schedules.py   KLWeight has other curves
    bounds                  textvae/inference/bounds.py       has the importance-weighted bound too
    train                   textvae/training/trainer.py       TextVAETrainer saves checkpoints and resumes
"""

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, Normal, kl_divergence
from torch.nn.utils.rnn import pad_sequence

from textvae import UserError, load_corpus  # load_corpus only reads the sentences
from textvae.support.errors import reported_to_user

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
PAD, BOS, EOS, UNK = range(4)


class Batch(NamedTuple):
    """Sentences as ids, each field (B, T)."""

    inputs: Tensor  # <s> x_1 ... x_T, what the decoder reads
    targets: Tensor  # x_1 ... x_T </s>, what the decoder predicts
    mask: Tensor  # True on real tokens, False on padding


class Reading(NamedTuple):
    """The posterior, the prior and the score of a batch, before z is drawn."""

    posterior: Independent  # q(z | x), batch shape (B,), event shape (Z,)
    prior: Independent  # p(z), the same shapes
    score: Callable[[Tensor], Tensor]  # z (K, B, Z) -> log p(x | z) in nats, (K, B)


def diagonal_gaussian(mean: Tensor, scale: Tensor) -> Independent:
    """N(mean, diag(scale^2)) with event shape (Z,), so log_prob and KL sum over Z."""
    return Independent(Normal(mean, scale), 1)


class LSTMEncoder(nn.Module):
    """An LSTM; its summary is the state after the last real token."""

    def __init__(self, V: int, E: int, D: int) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(V, E), nn.LSTM(E, D, batch_first=True)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Summaries (B, D) of ids (B, T)."""
        states, _ = self.lstm(self.embedding(ids))
        return states[torch.arange(len(ids)), mask.sum(1) - 1]


class GaussianPosterior(nn.Module):
    """q(z | x) from the encoder's summary of x."""

    def __init__(self, D: int, Z: int) -> None:
        super().__init__()
        self.mean, self.log_variance = nn.Linear(D, Z, bias=False), nn.Linear(D, Z, bias=False)

    def forward(self, summary: Tensor) -> Independent:
        """q(z | x), batch shape (B,), from summaries (B, D)."""
        return diagonal_gaussian(self.mean(summary), (0.5 * self.log_variance(summary)).exp())


class LSTMDecoder(nn.Module):
    """An LSTM that starts from z and reads z beside each word."""

    def __init__(self, V: int, E: int, D: int, Z: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, E)
        self.initial_cell = nn.Linear(Z, D, bias=False)
        self.lstm = nn.LSTM(E + Z, D, batch_first=True)

    def forward(self, inputs: Tensor, z: Tensor) -> Tensor:
        """States (K, B, T, D) for inputs (B, T) and z (K, B, Z); state t has read the inputs up to t."""
        words = self.embedding(inputs).expand(len(z), -1, -1, -1)  # (K, B, T, E)
        beside = z[:, :, None].expand(-1, -1, inputs.shape[1], -1)  # (K, B, T, Z)
        cell = self.initial_cell(z).flatten(0, 1)[None]  # (1, K B, D)
        states, _ = self.lstm(torch.cat([words, beside], -1).flatten(0, 1), (cell.tanh(), cell))
        return states.unflatten(0, z.shape[:2])


class OutputLayer(nn.Module):
    """p(x_t | state_t) = softmax(W state_t + b)."""

    def __init__(self, D: int, V: int) -> None:
        super().__init__()
        self.linear = nn.Linear(D, V)

    def log_likelihood(self, states: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """The sum of log p(x_t | state_t) over the real tokens in nats, (K, B)."""
        return (Categorical(logits=self.linear(states)).log_prob(targets) * mask).sum(-1)


class TextVAEModel(nn.Module):
    """The model: p(z), p(x | z) and q(z | x)."""

    def __init__(self, V: int, E: int = 64, D: int = 128, Z: int = 16, word_dropout: float = 0.3) -> None:
        super().__init__()
        self.encoder, self.posterior = LSTMEncoder(V, E, D), GaussianPosterior(D, Z)
        self.decoder, self.output_layer = LSTMDecoder(V, E, D, Z), OutputLayer(D, V)
        self.word_dropout = word_dropout

    def prior(self, batch_size: int) -> Independent:
        """p(z) = N(0, I), batch shape (B,)."""
        zeros = self.posterior.mean.weight.new_zeros(batch_size, self.posterior.mean.out_features)
        return diagonal_gaussian(zeros, torch.ones_like(zeros))

    def read(self, batch: Batch) -> Reading:
        """Encode the sentences, and return how to score a z; training uses word dropout."""
        inputs, targets, mask = batch
        if self.training:
            dropped = (torch.rand(inputs.shape) < self.word_dropout) & mask & (inputs != BOS)
            inputs = inputs.masked_fill(dropped, UNK)
        return Reading(
            self.posterior(self.encoder(targets, mask)),
            self.prior(len(targets)),
            lambda z: self.output_layer.log_likelihood(self.decoder(inputs, z), targets, mask),
        )

    @torch.no_grad()
    def generate(self, z: Tensor, tokens: int = 30) -> Tensor:
        """Ids (N, tokens) for z (N, Z): repeatedly take the most probable next word."""
        ids = torch.full((len(z), 1), BOS)
        for _ in range(tokens):
            logits = self.output_layer.linear(self.decoder(ids, z[None])[0, :, -1])
            ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
        return ids[:, 1:]


def neg_elbo(reading: Reading, kl_weight: float = 1.0, samples: int = 1) -> tuple[Tensor, Tensor]:
    """-ELBO and its KL in nats per sentence, both (B,)."""
    z = reading.posterior.rsample((samples,))  # mean + deviation * noise, (K, B, Z)
    kl = kl_divergence(reading.posterior, reading.prior)
    return kl_weight * kl - reading.score(z).mean(0), kl


def kl_weight(step: int, steps: int, end: float = 0.3) -> float:
    """The KL weight beta: from 0 to ``end`` linearly over 70 % of the steps; an end below 1 lets z say more."""
    return end * min(1.0, step / (0.7 * steps))


def collate(sentences: Sequence[list[int]]) -> Batch:
    """A batch of sentences of any length, padded on the right."""
    rows = pad_sequence([torch.tensor([BOS, *ids, EOS]) for ids in sentences], True, PAD)
    return Batch(rows[:, :-1], rows[:, 1:], rows[:, 1:] != PAD)


def batches(sentences: Sequence[list[int]], size: int = 32) -> Iterator[Batch]:
    """Batches of ``size`` sentences, in their order."""
    return (collate(sentences[start : start + size]) for start in range(0, len(sentences), size))


@torch.no_grad()
def bounds(vae: TextVAEModel, sentences: Sequence[list[int]]) -> tuple[float, float]:
    """-ELBO at beta = 1 and its KL: means over the sentences, in nats."""
    vae.eval()
    parts = [torch.stack(neg_elbo(vae.read(batch), samples=5)) for batch in batches(sentences)]
    bound, kl = torch.cat(parts, 1).mean(1).tolist()
    return bound, kl


def train(vae: TextVAEModel, sentences: list[list[int]], held_out: list[list[int]], epochs: int) -> None:
    """Minimise -ELBO by Adam; after each epoch, print the bounds of the held-out sentences."""
    steps, step = epochs * len(list(batches(sentences))), 0
    optimizer = torch.optim.Adam(vae.parameters(), lr=0.008, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for epoch in range(epochs):
        vae.train()
        for batch in batches([sentences[i] for i in torch.randperm(len(sentences))]):
            beta = kl_weight(step, steps)
            loss, _ = neg_elbo(vae.read(batch), beta)
            optimizer.zero_grad()
            loss.mean().backward()
            nn.utils.clip_grad_norm_(vae.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            step += 1
        bound, kl = bounds(vae, held_out)
        print(f"epoch {epoch + 1:2}   beta {beta:.2f}   -ELBO {bound:6.2f}   KL {kl:5.2f}", flush=True)


class Vocabulary:
    """The words that occur at least twice, numbered from the most frequent."""

    def __init__(self, sentences: Sequence[list[str]]) -> None:
        counts = Counter(word for words in sentences for word in words)
        self.words = SPECIAL + [word for word, count in counts.most_common() if count > 1]
        self.numbers = {word: number for number, word in enumerate(self.words)}

    def ids(self, words: list[str]) -> list[int]:
        """The ids of the words; <unk> for unknown words."""
        return [self.numbers.get(word, UNK) for word in words]

    def text(self, ids: list[int]) -> str:
        """The words up to </s>."""
        words = [self.words[i] for i in ids[: ids.index(EOS) if EOS in ids else None]]
        return re.sub(r" (?=[.,;:!?])", "", " ".join(words))


def read_corpus(corpus: str, maximum_words: int) -> tuple[list[list[str]], list[list[str]]]:
    """The words of the training sentences and of the held-out sentences."""
    splits = load_corpus(corpus)
    found = [
        [re.findall(r"[\w'-]+|[^\w\s]", text) for text in splits[s]["text"]] for s in ("train", "validation")
    ]
    short, held_out = ([words for words in part if len(words) <= maximum_words] for part in found)
    if not (short and held_out):
        raise UserError(f"expected sentences of up to {maximum_words} words, got none: raise --maximum-words")
    return short, held_out


def main() -> None:
    """Train on a corpus, then print sentences from the prior and an interpolation."""
    parser = argparse.ArgumentParser(description="A whole text VAE in plain PyTorch.")
    parser.add_argument(
        "corpus", nargs="?", default="grammar", help="a text file; default: the embedded corpus"
    )
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--maximum-words", type=int, default=12, help="skip longer sentences")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with reported_to_user():
        sentences, held_out = read_corpus(arguments.corpus, arguments.maximum_words)
    vocabulary = Vocabulary(sentences)
    ids, held_out_ids = ([vocabulary.ids(words) for words in part] for part in (sentences, held_out))
    vae = TextVAEModel(len(vocabulary.words))
    print(f"{len(ids):,} sentences, {len(vocabulary.words):,} words; bounds in nats per held-out sentence")
    train(vae, ids, held_out_ids, arguments.epochs)

    print("\nz from the prior:")
    for row in vae.generate(vae.prior(8).sample()).tolist():
        print("   ", vocabulary.text(row))

    a, b = held_out_ids[0], held_out_ids[-1]
    first, last = vae.read(collate([a, b])).posterior.mean.detach()
    print("\nz on the line between the posterior means of two held-out sentences:")
    print(vocabulary.text(a))
    for row in vae.generate(torch.lerp(first, last, torch.linspace(0, 1, 7)[:, None])).tolist():
        print("   ", vocabulary.text(row))
    print(vocabulary.text(b))


if __name__ == "__main__":
    main()
