"""`TextVAE`: a language VAE and its tokenizer, for people with strings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textvae.inference.mode import evaluating
from textvae.interfaces.batching import said_in
from textvae.interfaces.latent_walks import LatentWalks
from textvae.latent_space.fitted_priors import FittedPrior, fit_flow, fit_mixture, load_prior
from textvae.models.filling import fill
from textvae.models.language import TextVAEModel
from textvae.modules.distributions import sample as drawn
from textvae.support.errors import UserError
from textvae.support.randomness import generator_of, seeded
from textvae.support.seeds import check_seed
from textvae.text.blanks import pattern, spellings
from textvae.text.chunks import chunks
from textvae.text.given import as_list


class TextVAE(LatentWalks):
    """A `TextVAEModel` and its tokenizer: encode, decode, sample, score.

    No method changes the model's mode. A method that takes a seed leaves the global random state as it is.

    Args:
        model: on any device.
        tokenizer: the one that it was trained with.

    Raises:
        UserError: if the tokenizer's vocabulary has another size than the model's.

    Example:
        >>> vae = TextVAE.from_pretrained("runs/demo")                                # doctest: +SKIP
        >>> vae.interpolate("the dog sleeps", "did anna buy the tickets?", steps=3)   # doctest: +SKIP
    """

    kind = TextVAEModel

    def __init__(self, model: TextVAEModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(model, tokenizer)

    def reconstruct(
        self, texts: str | Sequence[str], *, batch_size: int | None = None, **options: Any
    ) -> list[str]:
        """Each text decoded from its posterior mean.

        Args:
            texts: n of them, or a single one.
            batch_size: sentences at once; None: as many as are fast in little memory.
            **options: of `decode`.
        """
        means = self._means(texts, batch_size, show_progress_bar=False)
        return self.decode(means, batch_size=batch_size, **options)

    def sample(
        self,
        n: int = 1,
        *,
        label: str | None = None,
        prior: str | FittedPrior | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> list[str]:
        """``n`` new sentences, z ~ p(z) and x decoded from z.

        Decoding is greedy by default: what varies is z, and the likeliest sentence of a z reads better than one with
        words drawn at random on top. A model without z draws its words, as its greedy sentences would all be one.

        Args:
            n: how many.
            label: of a model with classes, the class that all shall have; None: one is drawn for each.
            prior: what `fit_prior` gave, or the name of such a prior in the run folder; None: the model's own.
            seed: of z and the words; None takes them from the global random state.
            **options: of `decode`; ``temperature=1.0`` draws exactly from p(x | z).

        Raises:
            UserError: if ``n`` is not positive, the seed is out of range, or there is no such prior or class.
        """
        check_seed(seed)
        if n < 1:
            raise UserError(f"expected a number of sentences of 1 or more, got {n}")
        fitted = load_prior(self.model.name_or_path or "", prior) if isinstance(prior, str) else prior
        chosen = self.model.prior if fitted is None else fitted
        generator = generator_of(seed)
        with torch.no_grad():
            z = drawn(chosen(n, torch.empty(0, device=self.model.device)), 1, generator)[0]
        if label is not None:
            z[:, self.model.config.latent_size :] = self._class_vector(label, z)
        # One seed for both, or the words would be drawn with the noise of z.
        words = {} if generator is None else {"seed": int(torch.randint(2**32, (), generator=generator))}
        if not self.model.has_latent:
            options |= {"do_sample": said_in(options).get("do_sample", True)}
        return self.decode(z, **words | options)

    def classify(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> NDArray[np.float32]:
        """q(y | x) of each text, (n, C), in the order of ``model.config.classes``.

        Args:
            texts: n of them, or a single one.
            batch_size: sentences at once; None: as many as have 4,096 tokens.
            show_progress_bar: None: only on a terminal.

        Raises:
            UserError: if the model has no classes.
        """
        if self.model.config.classes is None:
            raise UserError(
                "expected a model with classes, got one without: train one with model.posterior.kind=classes "
                "model.prior.kind=classes"
            )
        means = self._means(texts, batch_size, show_progress_bar)
        return means[:, self.model.config.latent_size :].cpu().numpy()

    def log_likelihood(
        self,
        texts: str | Sequence[str],
        samples: int = 100,
        *,
        seed: int = 0,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> NDArray[np.float64]:
        """The importance-weighted lower bound on log p(x) of each text in nats, (n,), in their order.

        Its expectation rises with ``samples``; it is exact for a model without z. The draws of a text depend on the
        seed and on the texts beside it.

        Args:
            texts: n of them, or a single one.
            samples: K.
            seed: of the draws from the posteriors.
            batch_size: sentences at once; None: one with many samples, more with few.
            show_progress_bar: None: only on a terminal.

        Raises:
            UserError: if there is not one sample, or the seed is out of range.
        """
        return self._log_likelihood(self._rows(as_list(texts)), samples, seed, batch_size, show_progress_bar)

    def score(
        self, texts: str | Sequence[str], z: NDArray[np.floating] | Tensor, *, batch_size: int | None = None
    ) -> NDArray[np.float64]:
        """log p(x | z) of each text with its own z in nats, (n,): how probable the decoder finds it.

        Args:
            texts: n of them, or a single one.
            z: (n, Z), or (Z,) for one.
            batch_size: sentences at once; None: as many as have 4,096 tokens.

        Raises:
            UserError: if the vectors are not as many as the texts, or not of the model's size.
        """
        texts, vectors = as_list(texts), self._vectors(z)
        if len(texts) != len(vectors):
            raise UserError(f"expected a vector for each of {len(texts)} texts, got {len(vectors)}")
        rows = self._rows(texts)
        scores = np.zeros(len(rows))
        with evaluating(self.model):
            for places, batch in self._batches(rows, batch_size, False, "scoring"):
                own = vectors[None, places]
                found = self.model.score(own, batch.inputs, batch.targets, batch.mask)
                scores[places] = found[0].double().cpu().numpy()
        return scores

    def fit_prior(
        self,
        texts: Sequence[str],
        kind: Literal["mixture", "flow"] = "mixture",
        *,
        batch_size: int | None = None,
        seed: int = 0,
        show_progress_bar: bool | None = None,
        **options: Any,
    ) -> FittedPrior:
        """A prior fitted to the posteriors of texts, for `sample` to draw from in place of the model's own.

        `latent_space.fitted_priors` tells why, and has ``save_prior``, which puts it in the run folder.

        Args:
            texts: those the model was trained on, or others like them.
            kind: a mixture of Gaussians, or a flow, which needs `zuko`.
            batch_size: sentences at once; None: as many as have 4,096 tokens.
            seed: of the fit.
            show_progress_bar: None: only on a terminal.
            **options: of `fit_mixture`, such as ``components``, or of `fit_flow`, such as ``epochs``.

        Raises:
            UserError: if the kind is unknown, the seed is out of range, there are too few texts, or the model has
                classes or no latent.
        """
        check_seed(seed)
        if kind not in ("mixture", "flow"):
            raise UserError(f"expected kind to be one of mixture, flow, got {kind!r}")
        if self.model.config.classes is not None:
            raise UserError("expected a model without classes, whose prior is of z alone, got one with")
        found = self._posteriors(as_list(texts), batch_size, show_progress_bar)
        means, deviations = (part.cpu().numpy() for part in found)
        if kind == "mixture":
            return fit_mixture(means, deviations, seed=seed, **options)
        return fit_flow(means, deviations, seed=seed, show_progress_bar=show_progress_bar, **options)

    def fill(
        self, text: str, blank: str = "___", n: int = 5, particles: int = 200, *, seed: int = 0
    ) -> list[tuple[str, float]]:
        """The ``n`` likeliest ways to fill the blanks of a text, each with p(its words | the known words).

        What stands between two spaces is a word, and a blank is one or a part of one: of ``(___)`` the parentheses
        are known. The probabilities are shares of weighted particles, see `models.filling`. With 200 they tell what
        is likely, and still differ by tenths from seed to seed; the more particles, the more exact.

        Args:
            text: with blanks.
            blank: what stands for a missing word.
            n: how many, at most.
            particles: N.
            seed: of the draws.

        Raises:
            UserError: if one word has two blanks, no particle finds words that fit, the seed is out of range, or the
                model has classes.
        """
        check_seed(seed)
        if self.model.config.classes is not None:
            raise UserError("expected a model without classes, the only ones that fill blanks, got one with")
        with evaluating(self.model), seeded(generator_of(seed)):
            known = pattern(as_list([text])[0], self.tokenizer, blank)
            words, log_weights = fill(self.model, known, spellings(self.tokenizer), particles)
        shares: Counter[tuple[str, ...]] = Counter()
        for filling, share in zip(words, log_weights.softmax(0).tolist(), strict=True):
            shares[filling] += share
        return [(_filled(text, blank, filling), share) for filling, share in shares.most_common(n)]

    def _rows(self, texts: list[str]) -> list[dict[str, Any]]:
        """The texts as prepared rows."""
        found = [ids for document in chunks(texts, self.tokenizer, None) for ids in document]
        return [{"ids": ids, "length": len(ids) + 1} for ids in found]

    def _class_vector(self, label: str, like: Tensor) -> Tensor:
        """The class's part of a vector, (C,)."""
        classes = self.model.config.classes or []
        if label not in classes:
            known = ", ".join(classes) or "none, as the model has no classes"
            raise UserError(f"expected label to be one of {known}, got {label!r}")
        return torch.eye(len(classes), dtype=like.dtype, device=like.device)[classes.index(label)]


def _filled(text: str, blank: str, words: Sequence[str]) -> str:
    """The text with a word in the place of each blank."""
    first, *others = text.split(blank)
    return first + "".join(word + other for word, other in zip(words, others, strict=True))
