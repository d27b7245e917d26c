"""Priors fitted to the aggregate posterior after training.

The aggregate posterior q(z) is the mean of q(z | x) over the data. Where N(0, I) has mass and q(z) has none, the
decoder was never trained, so samples from there are poor. A density fitted to q(z) after training draws only where the
decoder was trained, and leaves the model unchanged (Ghosh et al. 2020; Dai & Wipf 2019). A fitted prior is called like
the model's own, ``prior(batch_size, like)``.

References:
    From Variational to Deterministic Autoencoders (Ghosh et al. 2020), https://arxiv.org/abs/1903.12436
    Diagnosing and Enhancing VAE Models (Dai & Wipf 2019), https://arxiv.org/abs/1903.05789
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.distributions import (
    AffineTransform,
    Categorical,
    Distribution,
    MixtureSameFamily,
    MultivariateNormal,
    TransformedDistribution,
)
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm
from transformers.utils import cached_file

from textvae.support.errors import UserError
from textvae.support.files import check_folder, check_name, replacing
from textvae.support.finite import not_finite
from textvae.support.options import Size, validated
from textvae.support.seeds import check_seed

FOLDER = "priors"
"""The subfolder of a run that holds its fitted priors."""

BATCH = 256
"""Posteriors per training step of a flow."""

PATIENCE = 5
"""Early stopping of a flow: epochs without a better log-density on the held-out posteriors."""


@validated
class FittedMixture(nn.Module):
    """p(z) = sum_c pi_c N(z; m_c, S_c), a mixture of C Gaussians with full covariances.

    Args:
        latent_size: Z.
        components: C.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, latent_size: Size, components: Size) -> None:
        super().__init__()
        self.sizes = {"latent_size": latent_size, "components": components}
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, latent_size))
        # Lower triangular, L L^T = S.
        self.register_buffer("factors", torch.eye(latent_size).repeat(components, 1, 1))

    def forward(self, batch_size: int, like: Tensor) -> Distribution:
        """The prior, batch shape (batch_size,), on the device and in the dtype of ``like``."""
        weights, means, factors = (tensor.to(like) for tensor in (self.weights, self.means, self.factors))
        components = MultivariateNormal(means, scale_tril=factors, validate_args=False)
        choice = Categorical(weights, validate_args=False)
        return MixtureSameFamily(choice, components, validate_args=False).expand((batch_size,))


@validated
class FittedFlow(nn.Module):
    """p(z), a neural spline flow (Durkan et al. 2019) of the standardised z.

    Args:
        latent_size: Z.
        hidden_size: size of the two hidden layers of each network that makes the splines.
        transforms: number of transforms.

    Raises:
        UserError: if `zuko` is not installed.

    References:
        Neural Spline Flows (Durkan et al. 2019), https://arxiv.org/abs/1906.04032
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, latent_size: Size, hidden_size: Size = 64, transforms: Size = 3) -> None:
        super().__init__()
        try:
            from zuko.flows import NSF
        except ImportError:
            raise UserError(
                "expected zuko for flows, found it is not installed: pip install 'textvae[flows]'"
            ) from None
        self.sizes = {"latent_size": latent_size, "hidden_size": hidden_size, "transforms": transforms}
        self.flow = NSF(latent_size, transforms=transforms, hidden_features=(hidden_size, hidden_size))
        self.register_buffer("mean", torch.zeros(latent_size))
        self.register_buffer("scale", torch.ones(latent_size))

    def forward(self, batch_size: int, like: Tensor) -> Distribution:
        """The prior, batch shape (batch_size,), on the device and in the dtype of ``like``."""
        self.to(like)
        place = AffineTransform(self.mean, self.scale, event_dim=1)
        base = self.flow().expand((batch_size,))
        return TransformedDistribution(base, place, validate_args=False)


FittedPrior = FittedMixture | FittedFlow

KINDS: dict[str, type[FittedMixture] | type[FittedFlow]] = {"mixture": FittedMixture, "flow": FittedFlow}
"""The priors by name."""


def fit_mixture(
    means: NDArray[np.floating], deviations: NDArray[np.floating], components: int = 10, *, seed: int = 0
) -> FittedMixture:
    """A mixture of Gaussians fitted by EM to one draw from each posterior.

    It is fitted to draws because the means alone lack the variance of the posteriors.

    Args:
        means: posterior means, (n, Z).
        deviations: posterior standard deviations, (n, Z).
        components: C.
        seed: seeds the draws and the start of EM.

    Raises:
        UserError: if there are fewer posteriors than components or than two, or the seed is out of range.
    """
    check_seed(seed)
    _check(means, deviations, max(2, components))
    draws = means + deviations * np.random.default_rng(seed).standard_normal(means.shape)
    fitted = GaussianMixture(components, max_iter=500, random_state=seed).fit(draws.astype(np.float64))
    prior = FittedMixture(means.shape[1], components)
    factors = np.linalg.cholesky(fitted.covariances_)
    for buffer, found in zip(prior.buffers(), (fitted.weights_, fitted.means_, factors), strict=True):
        buffer.copy_(torch.from_numpy(found))
    return prior


def fit_flow(
    means: NDArray[np.floating],
    deviations: NDArray[np.floating],
    *,
    epochs: int = 50,
    learning_rate: float = 1e-3,
    seed: int = 0,
    show_progress_bar: bool | None = None,
) -> FittedFlow:
    """A flow that maximises the mean log-density of draws from the posteriors; each epoch has new draws.

        max E_x E_q(z | x) log p(z)

    This minimises KL(q(z) ‖ p(z)). A tenth of the posteriors is held out, and the epoch that is best on it is kept.

    Args:
        means: posterior means, (n, Z).
        deviations: posterior standard deviations, (n, Z).
        epochs: the most epochs.
        learning_rate: learning rate of Adam.
        seed: seeds the weights and all draws.
        show_progress_bar: None: only on a terminal.

    Raises:
        UserError: if there are fewer than ten posteriors, the seed is out of range, or `zuko` is not installed.
    """
    check_seed(seed)
    _check(means, deviations, 10)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, deviation = (torch.from_numpy(np.array(array, np.float32)) for array in (means, deviations))
        prior = FittedFlow(mean.shape[1])
        prior.mean.copy_(mean.mean(0))
        prior.scale.copy_((mean.var(0) + deviation.square().mean(0)).sqrt())
        order = torch.randperm(len(mean))
        held_out, kept = order[: len(mean) // 10], order[len(mean) // 10 :]
        valid = torch.normal(mean[held_out], deviation[held_out])
        optimiser = torch.optim.Adam(prior.parameters(), learning_rate)
        best, state, waited = -torch.inf, prior.state_dict(), 0
        hidden = None if show_progress_bar is None else not show_progress_bar
        for _ in tqdm(range(epochs), "fitting", unit=" epochs", disable=hidden):
            for rows in kept[torch.randperm(len(kept))].split(BATCH):
                z = torch.normal(mean[rows], deviation[rows])
                loss = -prior(len(z), z).log_prob(z).mean()
                optimiser.zero_grad()
                loss.backward()
                clip_grad_norm_(prior.parameters(), 5.0)
                optimiser.step()
            with torch.no_grad():
                density = float(prior(len(valid), valid).log_prob(valid).mean())
            waited += 1
            if density > best:
                best, waited, state = density, 0, deepcopy(prior.state_dict())
            elif waited == PATIENCE:
                break
        prior.load_state_dict(state)
    return prior.requires_grad_(False)


def check_place(run: str | Path, name: str) -> Path:
    """The file in a run folder for a prior of this name; it need not exist yet.

    Raises:
        UserError: if there is no such folder, it cannot be written to, or the name cannot be a file name.
    """
    check_name(name, "a prior")
    run = Path(run).expanduser()
    if not Path(run).is_dir():
        raise UserError(
            f"expected a run folder to write the prior to, got {run}: copy the model into a folder first"
        )
    check_folder(Path(run) / FOLDER)
    return Path(run) / FOLDER / f"{name}.safetensors"


def save_prior(prior: FittedPrior, run: str | Path, name: str) -> Path:
    """Write a prior into a run folder, atomically; returns its file.

    Raises:
        UserError: as `check_place`.
    """
    path = check_place(run, name)
    kind = next(kind for kind, made in KINDS.items() if isinstance(prior, made))
    with replacing(path) as partial:
        save_file(prior.state_dict(), partial, {"prior": json.dumps({"kind": kind, **prior.sizes})})
    return path


def load_prior(run: str | Path, name: str) -> FittedPrior:
    """The prior that `save_prior` wrote into a run folder, local or on the Hub.

    Raises:
        UserError: if there is no prior of that name, it is damaged or not finite, or it is a flow and `zuko` is not
            installed.
    """
    check_name(name, "a prior")
    try:
        file = cached_file(str(run), f"{FOLDER}/{name}.safetensors")
    except OSError as error:
        names = ", ".join(sorted(path.stem for path in (Path(run) / FOLDER).glob("*.safetensors")))
        raise UserError(
            f"expected a prior of {run}, found no {name!r}: "
            + (f"it has {names}" if names else "fit one with textvae fit-prior RUN FILE")
        ) from error
    try:
        with safe_open(file, framework="pt") as stored:
            sizes = json.loads(stored.metadata()["prior"])
            prior = KINDS[sizes.pop("kind")](**sizes)
            prior.load_state_dict({key: stored.get_tensor(key) for key in stored.keys()})  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"expected a prior in {file}, got a damaged file ({error}): fit it again") from error
    if broken := not_finite(prior.state_dict()):
        raise UserError(
            f"expected a prior of finite numbers in {file}, got NaN or infinity in {broken[0]}: fit it again"
        )
    return prior.requires_grad_(False)


def _check(means: NDArray[np.floating], deviations: NDArray[np.floating], least: int) -> None:
    if means.ndim != 2 or means.shape != deviations.shape:
        raise UserError(
            f"expected means and deviations of the same shape (n, Z), got {means.shape} and {deviations.shape}: "
            "take both from one call of encode"
        )
    if len(means) < least:
        raise UserError(f"expected {least} posteriors or more, got {len(means)}: give more sentences")
