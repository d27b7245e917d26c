"""A model and its tokenizer, for people with strings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from textvae.errors import UserError
from textvae.evaluation.evaluate import evaluating
from textvae.evaluation.likelihood import bounds
from textvae.files import replacing_files_in
from textvae.latent_space.paths import PATHS
from textvae.models.checkpoint import load_model, silenced
from textvae.models.language import TextVAEModel
from textvae.text.batches import Batch, Collator, evaluation_loader, tokenize
from textvae.text.tokenizer import decode_rows, load_tokenizer

STOCHASTIC = ("temperature", "top_k", "top_p", "min_p", "typical_p")
"""Options of `GenerationMixin.generate` that mean nothing unless words are drawn."""


class TextVAE:
    """A `TextVAEModel` and its tokenizer.

    No method changes the model's mode or, where it takes a seed, the global random state.

    Args:
        model: on any device.
        tokenizer: the one that it was trained with.

    Raises:
        UserError: if the tokenizer's vocabulary is not the model's.

    Example:
        >>> vae = TextVAE.from_pretrained("runs/demo")                                # doctest: +SKIP
        >>> vae.interpolate("the dog sleeps", "did anna buy the tickets?", steps=3)   # doctest: +SKIP
    """

    def __init__(self, model: TextVAEModel, tokenizer: PreTrainedTokenizerBase) -> None:
        if len(tokenizer) != model.config.vocab_size:
            raise UserError(
                f"expected the tokenizer that the model was trained with, of {model.config.vocab_size} tokens, "
                f"got one of {len(tokenizer)}: take both from one run"
            )
        self.model, self.tokenizer = model, tokenizer

    @classmethod
    def from_pretrained(cls, run: str | Path, device: str | torch.device | None = None) -> TextVAE:
        """Load a run folder, one of its checkpoints, or a model on the Hub.

        Args:
            run: a folder, or the Hub's ``owner/name``.
            device: where the model goes; None: the GPU if there is one.

        Raises:
            UserError: if there is no such run, if it is not finished, is of another kind, is damaged, or if its
                tokenizer does not fit.
        """
        path = Path(run).expanduser()
        name = str(path) if path.exists() else str(run)
        model = load_model(name)
        with silenced():
            tokenizer = load_tokenizer(name)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        torch.nn.Module.to(model, device)  # the model's own has lost its types to a decorator
        return cls(model.eval(), tokenizer)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write model and tokenizer to ``folder``, each file whole or not at all."""
        with replacing_files_in(folder) as partial:
            self.model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)

    def encode(
        self,
        sentences: str | Sequence[str],
        *,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = False,
    ) -> NDArray[np.float32] | Tensor | list[Tensor]:
        """The posterior means; arguments and results are those of `SentenceTransformer.encode`.

        Args:
            sentences: n of them, or a single one.
            batch_size: sentences at once.
            show_progress_bar: None: only on a terminal.
            convert_to_numpy: give a numpy array; if this is False, a list of tensors.
            convert_to_tensor: give one tensor, on the model's device, whatever ``convert_to_numpy`` says.
            normalize_embeddings: scale each vector to length 1.

        Returns:
            (n, Z) in the order of the sentences, float32; (Z,) for a single one.

        Raises:
            UserError: if the model has no latent, or something is not a string.
        """
        means = self._means(_as_list(sentences), batch_size, show_progress_bar)
        if normalize_embeddings:
            means = torch.nn.functional.normalize(means, dim=1)
        vectors = means[0] if isinstance(sentences, str) else means
        if convert_to_tensor:
            return vectors
        if convert_to_numpy:
            return vectors.cpu().numpy()
        return vectors if isinstance(sentences, str) else list(vectors)

    def decode(
        self,
        z: NDArray[np.floating] | Tensor,
        *,
        maximum_length: int = 100,
        batch_size: int = 32,
        seed: int | None = None,
        show_progress_bar: bool | None = None,
        **options: Any,
    ) -> list[str]:
        """The sentences of latent vectors, in their order; greedy unless the options say otherwise.

        Args:
            z: (n, Z), or (Z,) for one.
            maximum_length: a sentence ends after so many tokens at the latest.
            batch_size: vectors at once.
            seed: of the draws, if there are any; None takes them from the global random state.
            show_progress_bar: None: only on a terminal.
            **options: of `GenerationMixin.generate`: ``num_beams``, ``do_sample``, ``top_p``, ... A ``temperature``,
                ``top_k`` or ``top_p`` implies ``do_sample``, and words are drawn from the model's own distribution,
                not from its 50 likeliest words, unless ``top_k`` says so.

        Returns:
            n strings; n · r, those of one vector side by side, with ``num_return_sequences=r``.

        Raises:
            UserError: if the vectors are not of the model's size.
        """
        vectors = self._vectors(z)
        options = self._decoding(options) | {"max_new_tokens": maximum_length}
        texts: list[str] = []
        with evaluating(self.model, seed), _bar(len(vectors), show_progress_bar, "decoding") as bar:
            for part in vectors.split(batch_size):
                texts += decode_rows(self.tokenizer, self.model.generate(part, **options).tolist())
                bar.update(len(part))
        return texts

    def reconstruct(self, texts: str | Sequence[str], *, batch_size: int = 32, **options: Any) -> list[str]:
        """Each text decoded from its posterior mean.

        Args:
            texts: n of them, or a single one.
            batch_size: sentences at once.
            **options: of `decode`.
        """
        means = self._means(_as_list(texts), batch_size, show_progress_bar=False)
        return self.decode(means, batch_size=batch_size, **options)

    def sample(self, n: int = 1, *, seed: int | None = None, **options: Any) -> list[str]:
        """``n`` new sentences, z ~ p(z) and x decoded from z.

        Decoding is greedy by default: what varies is z, and the likeliest sentence of a z reads better than one with
        words drawn at random on top. A model without z draws its words, as its greedy sentences would all be one.

        Args:
            n: how many.
            seed: of z and the words; None takes them from the global random state.
            **options: of `decode`; ``temperature=1.0`` draws exactly from p(x | z).

        Raises:
            UserError: if ``n`` is not positive.
        """
        if n < 1:
            raise UserError(f"expected a number of sentences of 1 or more, got {n}")
        with evaluating(self.model, seed):
            z = self.model.prior(n, torch.empty(0, device=self.model.device)).sample()
            return self.decode(z, **({} if self.model.config.latent_size else {"do_sample": True}) | options)

    def interpolate(
        self, a: str, b: str, steps: int = 7, path: Literal["linear", "spherical"] = "linear", **options: Any
    ) -> list[str]:
        """Sentences on the way from one to another; the ends are the reconstructions of both.

        Args:
            a: where to begin.
            b: where to end.
            steps: number of sentences, the ends counted.
            path: the way between the posterior means, see `latent_space.paths`.
            **options: of `decode`.

        Raises:
            UserError: if the path is unknown or has fewer than two steps, or the model has no latent.
        """
        if path not in PATHS:
            raise UserError(f"expected path to be one of {', '.join(PATHS)}, got {path!r}")
        first, last = self._means([a, b], 2, show_progress_bar=False).cpu()
        return self.decode(PATHS[path](first, last, steps), **options)

    def log_likelihood(
        self,
        texts: str | Sequence[str],
        samples: int = 100,
        *,
        seed: int = 0,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
    ) -> NDArray[np.float64]:
        """The importance-weighted lower bound on log p(x) of each text in nats, (n,), in their order.

        Its expectation rises with ``samples``; it is exact for a model without z. The draws of a text depend on the
        seed and on the texts beside it.

        Args:
            texts: n of them, or a single one.
            samples: K.
            seed: of the draws from the posteriors.
            batch_size: sentences at once.
            show_progress_bar: None: only on a terminal.
        """
        if samples < 1:
            raise UserError(f"expected 1 sample or more, got {samples}")
        texts = _as_list(texts)
        scores = np.zeros(len(texts))
        with evaluating(self.model, seed):
            for rows, batch in self._batches(texts, batch_size, show_progress_bar, "scoring"):
                scores[rows] = -bounds(self.model, batch, samples)["iw_nll"].double().cpu().numpy()
        return scores

    def _means(self, texts: list[str], batch_size: int, show_progress_bar: bool | None) -> Tensor:
        """The posterior means of the texts in their order, (n, Z) in single precision, on the model's device."""
        size = self.model.config.latent_size
        if not size:
            raise UserError(
                "expected a model with a latent, got a language model (latent_size 0), which has no vectors: train "
                "one with model.latent_size=32; sample and log_likelihood work without"
            )
        means = torch.zeros(len(texts), size, device=self.model.device)
        # The data loader draws a number, hence a seed.
        with evaluating(self.model, seed=0):
            for rows, batch in self._batches(texts, batch_size, show_progress_bar, "encoding"):
                means[rows] = self.model.encode(batch.targets, batch.mask).mean.float()
        return means

    def _batches(
        self, texts: list[str], batch_size: int, show_progress_bar: bool | None, what: str
    ) -> Iterator[tuple[list[int], Batch]]:
        """Texts of like length together, with the places they have in ``texts``."""
        if not texts:
            return
        with silenced():
            tokens = tokenize(Dataset.from_dict({"text": texts}), self.tokenizer)
        loader = evaluation_loader(tokens, Collator.for_tokenizer(self.tokenizer), batch_size)
        order = list(loader.sampler)
        with _bar(len(texts), show_progress_bar, what) as bar:
            for start, batch in zip(range(0, len(texts), batch_size), loader, strict=True):
                yield order[start : start + batch_size], batch.to(self.model.device)
                bar.update(len(batch.lengths))

    def _vectors(self, z: NDArray[np.floating] | Tensor) -> Tensor:
        """``z`` as (n, Z) in the model's precision and on its device."""
        # A copy, because torch warns of arrays that it may not write to, such as memory-mapped ones.
        given = z if isinstance(z, Tensor) else torch.from_numpy(np.array(z))
        vectors = given.to(self.model.device, self.model.dtype)
        vectors = vectors[None] if vectors.ndim == 1 else vectors
        size = self.model.config.latent_size
        if vectors.ndim != 2 or vectors.shape[1] != size:
            raise UserError(
                f"expected vectors of shape (n, {size}), got {tuple(np.shape(z))}: take them from this model's encode"
            )
        return vectors

    def _decoding(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options with what they imply."""
        drawn = any(options.get(name) is not None for name in STOCHASTIC)
        chosen = {"do_sample": drawn} | options
        return ({"top_k": 0} if chosen["do_sample"] else {}) | chosen


def _as_list(texts: str | Iterable[str]) -> list[str]:
    """The texts, checked."""
    listed = [texts] if isinstance(texts, str) else list(texts)
    for place, text in enumerate(listed):
        if not isinstance(text, str):
            raise UserError(f"expected strings, got {text!r:.80} ({type(text).__name__}) at place {place}")
    return listed


def _bar(total: int, show: bool | None, what: str) -> tqdm:
    return tqdm(total=total, desc=what, unit=" sentences", disable=None if show is None else not show)
