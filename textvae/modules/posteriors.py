"""Posteriors: from the summary of a sentence to q(z | x)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Independent
from torch.nn import functional

from textvae.modules.classes import ClassGaussian
from textvae.modules.distributions import diagonal_gaussian
from textvae.support.options import Dropout, Positive, Size, validated


@validated
class NormalizedMeans(nn.Module):
    """Batch normalisation of the posterior means with a fixed standard deviation (BN-VAE, Zhu et al. 2020).

        m'_d = gamma (m_d - E[m_d]) / sqrt(V[m_d]) + b_d

    E and V are taken over the batch in training; evaluation uses running means of both. The mean KL of dimension d is
    at least E[m'_d²] / 2 = (gamma² + b_d²) / 2. Hence the mean KL of a batch is at least gamma² Z / 2 nats, whatever
    the decoder does, and the posteriors cannot all become the prior.

    The batch is the micro-batch of one process: gradient accumulation and further processes do not enlarge it. It must
    be a random sample of the data: with batches of sentences of one length, E and V would be those of this length, and
    the means of evaluation would differ from those of training. So `TextVAETrainer` makes batches of sentences of all
    lengths for models with such modules.

    Args:
        latent_size: Z.
        deviation: gamma.

    References:
        A Batch Normalized Inference Network Keeps the KL Vanishing Away (Zhu et al. 2020),
        https://arxiv.org/abs/2004.12585
    """

    def __init__(self, latent_size: Size, deviation: Positive) -> None:
        super().__init__()
        self.deviation = deviation
        # With the usual 1e-5, small initial weights would give means far below gamma, which could vanish.
        self.norm = nn.BatchNorm1d(latent_size, eps=1e-12, affine=False)
        self.bias = nn.Parameter(torch.zeros(latent_size))

    def forward(self, mean: Tensor) -> Tensor:
        """m', given m, both (B, Z)."""
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.momentum is not None
        # The means are in fp32 or better, but the running means may be in bf16.
        expected, variance = norm.running_mean.to(mean.dtype), norm.running_var.to(mean.dtype)
        # One sentence has no variance; the last batch of an epoch may be that small.
        if not self.training or len(mean) == 1:
            normalized = functional.batch_norm(mean, expected, variance, eps=norm.eps)
        else:
            normalized = functional.batch_norm(mean, None, None, training=True, eps=norm.eps)
            with torch.no_grad():
                norm.running_mean.copy_(expected.lerp(mean.mean(0), norm.momentum))
                norm.running_var.copy_(variance.lerp(mean.var(0), norm.momentum))
        return self.deviation * normalized + self.bias


@validated
class GaussianPosterior(nn.Module):
    """q(z | x) = N(W_m s, diag(exp(W_v s))), where s is the summary of a sentence (Kingma & Welling 2014).

    The linear layers have no bias, as in the published set-ups.

    Args:
        input_size: D, size of the summaries.
        latent_size: Z.
        normalize_means: standard deviation gamma of the batch-normalised means (`NormalizedMeans`), which keep the mean
            KL at gamma² Z / 2 nats or more; None: the means are not normalised.
    """

    reads_labels = False

    def __init__(self, input_size: Size, latent_size: Size, normalize_means: Positive | None = None) -> None:
        super().__init__()
        self.mean = nn.Linear(input_size, latent_size, bias=False)
        self.log_variance = nn.Linear(input_size, latent_size, bias=False)
        self.means = (
            nn.Identity() if normalize_means is None else NormalizedMeans(latent_size, normalize_means)
        )

    def forward(self, summary: Tensor) -> Independent:
        """The posterior, batch shape (B,), for a summary of shape (B, D)."""
        # Under autocast the products may be bf16; the density is always fp32 or better.
        mean, log_variance = self.mean(summary), self.log_variance(summary)
        precise = torch.promote_types(mean.dtype, torch.float32)
        return diagonal_gaussian(self.means(mean.to(precise)), (0.5 * log_variance.to(precise)).exp())


@validated
class ClassPosterior(nn.Module):
    """The recognition model of M2 (Kingma et al. 2014, section 3.1.2), given the summary s of a sentence.

        q(y | x) = softmax(V s),    q(z | x, y) = N(W_m h_y, diag(exp(W_v h_y))),    h_y = tanh(U s + e_y)

    Args:
        input_size: D, size of the summaries and of h.
        latent_size: Z.
        classes: C.
        dropout: dropout rate on the classifier's input.
        temperature: temperature of the Gumbel-softmax that draws the class of an unlabelled sentence in training; None:
            training tries every class and weights it by q(y | x).

    References:
        Semi-supervised Learning with Deep Generative Models (Kingma et al. 2014), https://arxiv.org/abs/1406.5298
    """

    reads_labels = True

    def __init__(
        self,
        input_size: Size,
        latent_size: Size,
        classes: Size,
        dropout: Dropout = 0.0,
        temperature: Positive | None = None,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(input_size, classes)
        self.hidden = nn.Linear(input_size, input_size)
        self.embedding = nn.Embedding(classes, input_size)
        self.mean = nn.Linear(input_size, latent_size)
        self.log_variance = nn.Linear(input_size, latent_size)

    def forward(self, summary: Tensor, labels: Tensor | None = None) -> ClassGaussian:
        """q(y, z | x), batch shape (B,), given summaries (B, D) and labels (B,), `UNLABELLED` if unknown."""
        scores = self.classifier(self.dropout(summary))
        hidden = (self.hidden(summary)[:, None] + self.embedding.weight).tanh()
        precise = torch.promote_types(scores.dtype, torch.float32)
        scale = (0.5 * self.log_variance(hidden).to(precise)).exp()
        log_probabilities = functional.log_softmax(scores.to(precise), -1)
        return ClassGaussian(
            log_probabilities, self.mean(hidden).to(precise), scale, labels, self.temperature
        )


POSTERIORS: dict[str, type[nn.Module]] = {
    "gaussian": GaussianPosterior,
    "classes": ClassPosterior,
}
"""The posteriors, by the kind that a configuration names."""
