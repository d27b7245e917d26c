"""`TextVAE`: a language VAE with its tokenizer, which takes and returns strings."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textvae.inference.filling import Fillings
from textvae.inference.filling import fill as filled_by_particles
from textvae.inference.mode import evaluating
from textvae.interfaces.batching import said_in
from textvae.interfaces.latent_walks import LatentWalks
from textvae.latent_space.fitted_priors import FittedPrior, fit_flow, fit_mixture, load_prior
from textvae.models.language import TextVAEModel
from textvae.modules.distributions import sample as sampled
from textvae.support.errors import UserError
from textvae.support.randomness import generator_of, seeded
from textvae.support.seeds import check_seed
from textvae.text.blanks import pattern, spellings
from textvae.text.chunks import chunks
from textvae.text.given import as_list

LONGEST = 2**16
"""Maximum tokens of a text that is scored or filled. Memory grows with the length; `encode` reads chunks instead."""


class TextVAE(LatentWalks):
    """A `TextVAEModel` with its tokenizer: encode, decode, sample, score.

    No method changes the model's mode. A method with a seed leaves the global random state as it is.

    Args:
        model: the model, on any device.
        tokenizer: the tokenizer that the model was trained with.

    Raises:
        UserError: if the vocabulary of the tokenizer and the model's differ in size.

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
        """The reconstruction of each text: the sentence decoded from its posterior mean.

        Args:
            texts: n texts, or a single one.
            batch_size: sentences at once; None: a fast number that needs little memory.
            **options: arguments of `decode`.
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
        """``n`` new sentences: draw z ~ p(z), then decode x from z.

        Decoding is greedy by default: z varies, and the most probable sentence for a z reads better than one with
        sampled words. A model without z samples its words; greedy decoding would return the same sentence n times.

        Args:
            n: number of sentences.
            label: the class of all sentences, for a model with classes; None: draw a class for each sentence.
            prior: a prior from `fit_prior`, or the name of one saved in the run folder; None: the model's own prior.
            seed: seed for z and the words; None: use the global random state.
            **options: arguments of `decode`; ``temperature=1.0`` samples from p(x | z) with UNK left out, and with
                ``suppress_tokens=[]`` exactly from p(x | z).

        Raises:
            UserError: if ``n`` is less than 1, the seed is out of range, or the prior or class does not exist.
        """
        check_seed(seed)
        if n < 1:
            raise UserError(f"expected 1 sentence or more, got {n}")
        fitted = load_prior(self.model.name_or_path or "", prior) if isinstance(prior, str) else prior
        chosen = self.model.prior if fitted is None else fitted
        generator = generator_of(seed)
        with torch.no_grad():
            z = sampled(chosen(n, torch.empty(0, device=self.model.device)), 1, generator)[0]
        if label is not None:
            z[:, self.model.config.latent_size :] = self._class_vector(label, z)
        # Draw another seed for the words, which would otherwise be sampled with the same noise as z.
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
        """The class probabilities q(y | x) of each text, (n, C), in the order of ``model.config.classes``.

        Args:
            texts: n texts, or a single one.
            batch_size: sentences at once; None: as many as make 4,096 tokens.
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
        """The importance-weighted lower bound on log p(x) of each text in nats, (n,), in order.

        The expected bound increases with ``samples``. For a model without z it is exact. The samples of a text depend
        on the seed and on the other texts in the call.

        Args:
            texts: n texts, or a single one.
            samples: K, the number of posterior samples for each text.
            seed: seed for the posterior samples.
            batch_size: sentences at once; None: one if ``samples`` is large, more if it is small.
            show_progress_bar: None: only on a terminal.

        Raises:
            UserError: if ``samples`` is less than 1, or the seed is out of range.
        """
        return self._log_likelihood(self._rows(as_list(texts)), samples, seed, batch_size, show_progress_bar)

    def score(
        self, texts: str | Sequence[str], z: NDArray[np.floating] | Tensor, *, batch_size: int | None = None
    ) -> NDArray[np.float64]:
        """log p(x | z) of each text under the decoder, given its z, in nats, (n,).

        Args:
            texts: n texts, or a single one.
            z: a latent code for each text, (n, Z), or (Z,) for a single text.
            batch_size: sentences at once; None: as many as make 4,096 tokens.

        Raises:
            UserError: if the numbers of vectors and texts differ, or the vectors do not have the model's size.
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
                scores[places] = found[0].cpu().double().numpy()
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
        """A prior fitted to the posteriors of texts, which `sample` can draw from instead of the model's own prior.

        `latent_space.fitted_priors` explains why this helps. Its ``save_prior`` saves the prior in the run folder.

        Args:
            texts: the training texts, or similar ones.
            kind: "mixture" fits a mixture of Gaussians, "flow" a normalizing flow, which needs `zuko`.
            batch_size: sentences at once; None: as many as make 4,096 tokens.
            seed: seed of the fit.
            show_progress_bar: None: only on a terminal.
            **options: arguments of `fit_mixture`, such as ``components``, or of `fit_flow`, such as ``epochs``.

        Raises:
            UserError: if the kind is unknown, the seed is out of range, there are too few texts, or the model has
                classes or no latent code.
        """
        check_seed(seed)
        if kind not in ("mixture", "flow"):
            raise UserError(f"expected kind to be one of mixture, flow, got {kind!r}")
        if self.model.config.classes is not None:
            raise UserError(
                "expected a model without classes, got one with classes, whose prior is not over z alone: sample from "
                "the model's own prior"
            )
        found = self._posteriors(as_list(texts), batch_size, show_progress_bar)
        means, deviations = (part.cpu().numpy() for part in found)
        if kind == "mixture":
            return fit_mixture(means, deviations, seed=seed, **options)
        return fit_flow(means, deviations, seed=seed, show_progress_bar=show_progress_bar, **options)

    def fill(
        self, text: str, blank: str = "___", n: int = 5, particles: int = 1000, *, seed: int = 0
    ) -> Fillings:
        """The ``n`` most probable ways to fill the blanks of a text, each with p(filled words | known words).

        Words are separated by spaces. A blank is a word or a part of a word: in ``(___)`` the parentheses are known.
        Each probability is a share of weighted particles (`inference.filling`). It is as exact as the effective sample
        size of the particles says, which grows with their number; a `UserWarning` says if it is small.

        Args:
            text: a text with blanks.
            blank: the string that marks a missing word.
            n: maximum number of results.
            particles: N, the number of particles.
            seed: seed for the particles.

        Raises:
            UserError: if a word has two blanks, no particle finds words that fit, the seed is out of range, or the
                model has classes.

        Example:
            >>> for text, probability in vae.fill("the ___ sleeps"):   # doctest: +SKIP
            ...     print(text, probability)
        """
        check_seed(seed)
        if self.model.config.classes is not None:
            raise UserError(
                "expected a model without classes, got one with classes, which cannot fill blanks: use another model"
            )
        with evaluating(self.model), seeded(generator_of(seed)):
            known = pattern(as_list([text])[0], self.tokenizer, blank)
            _check_lengths([len(known)])
            drawn = filled_by_particles(self.model, known, spellings(self.tokenizer), particles)
        likeliest = drawn.shares().most_common(n)
        found = Fillings(
            [_filled(text, blank, words) for words, _ in likeliest],
            [share for _, share in likeliest],
            drawn.effective_sample_size(),
            particles,
        )
        if found.warning:
            warnings.warn(found.warning, stacklevel=2)
        return found

    def _rows(self, texts: list[str]) -> list[dict[str, Any]]:
        """The texts as rows of token ids and lengths, as `Fields.prepare` makes them."""
        found = [ids for document in chunks(texts, self.tokenizer, None) for ids in document]
        _check_lengths(map(len, found))
        return [{"ids": ids, "length": len(ids) + 1} for ids in found]

    def _class_vector(self, label: str, like: Tensor) -> Tensor:
        """The part of a vector that encodes the class, one-hot, (C,)."""
        classes = self.model.config.classes or []
        if label not in classes:
            known = ", ".join(classes) or "none, because the model has no classes"
            raise UserError(f"expected label to be one of {known}, got {label!r}")
        return torch.eye(len(classes), dtype=like.dtype, device=like.device)[classes.index(label)]


def _check_lengths(lengths: Iterable[int]) -> None:
    """Refuse texts whose log-probability would need more memory than there is room for; it cannot be read in chunks.

    Raises:
        UserError: if a text has more than `LONGEST` tokens.
    """
    longest = max(lengths, default=0)
    if longest > LONGEST:
        raise UserError(
            f"expected texts of at most {LONGEST:,} tokens, as log p(x) is that of a whole text, got one of "
            f"{longest:,}: cut it, or give its parts"
        )


def _filled(text: str, blank: str, words: Sequence[str]) -> str:
    """The text with each blank replaced by a word."""
    first, *others = text.split(blank)
    return first + "".join(word + other for word, other in zip(words, others, strict=True))
