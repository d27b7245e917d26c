"""A model and its tokenizer, for people with strings."""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from textvae.errors import UserError
from textvae.files import replacing_files_in
from textvae.inference.bounds import bounds, tokens_at_once
from textvae.inference.filling import Fillings
from textvae.inference.filling import fill as filled_by_particles
from textvae.inference.mode import evaluating
from textvae.latent_space.fitted_priors import FittedPrior, fit_flow, fit_mixture, load_prior
from textvae.latent_space.neighbours import Metric, nearest
from textvae.latent_space.paths import PATHS, analogy, traversal
from textvae.models.checkpoint import load_run, silenced
from textvae.models.language import TextVAEModel
from textvae.modules.distributions import sample as drawn
from textvae.seeds import check_seed
from textvae.support.randomness import generator_of, seeded
from textvae.text.batches import Batch
from textvae.text.blanks import pattern, spellings
from textvae.text.chunks import chunks
from textvae.text.fields import Fields, TextField
from textvae.text.tokenizer import decode_rows
from textvae.texts import as_list, at_once, batches_of, decoding, progress

MTEB_TASK = {"task_name", "task_metadata", "hf_split", "hf_subset", "prompt_type"}
"""What the versions of MTEB tell a model of the task that it is to encode for."""


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
        self.fields = Fields([TextField.of(tokenizer)])

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
        model, fields = load_run(run, TextVAEModel, device)
        return cls(model, fields.tokenizer)

    @property
    def maximum_length(self) -> int | None:
        """Tokens of the longest sentences the model was trained on, EOS counted; None if they were never cut."""
        length = self.tokenizer.model_max_length
        return None if length >= VERY_LARGE_INTEGER else length

    def save_pretrained(self, folder: str | Path) -> None:
        """Write model and tokenizer to ``folder``, which is read again only when it has all of them."""
        with silenced(), replacing_files_in(folder, "config.json") as partial:
            self.model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)

    def encode(
        self,
        sentences: str | Iterable[Any],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: str = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | torch.device | None = None,
        normalize_embeddings: bool = False,
        *,
        return_deviations: bool = False,
        **task: Any,
    ) -> Any:
        """The posterior means; arguments and results are those of `SentenceTransformer.encode`.

        A text that is longer than the model's `maximum_length` is read in chunks: its vector is the mean of theirs,
        weighted by their lengths, and its deviations are those of this mean, for independent chunks.

        Args:
            sentences: n of them, or a single one; also batches of them, as MTEB's loaders give: dicts with ``text``.
            prompt_name: None, as these models have no named prompts.
            prompt: put before each sentence.
            batch_size: sentences at once; None: as many as have 4,096 tokens.
            show_progress_bar: None: only on a terminal.
            output_value: "sentence_embedding", as there is one vector a sentence.
            precision: "float32".
            convert_to_numpy: give a numpy array; if this is False, a list of tensors.
            convert_to_tensor: give one tensor, on the model's device, whatever ``convert_to_numpy`` says.
            device: where the model goes first, and stays; None: where it is.
            normalize_embeddings: scale each vector to length 1, and its deviations with it.
            return_deviations: give a pair, the means and the posterior's standard deviations.
            **task: what MTEB says of its task, which makes no difference: any of `MTEB_TASK`.

        Returns:
            (n, Z) in the order of the sentences, float32; (Z,) for a single one. Two of these with deviations.

        Raises:
            UserError: if the model has no latent, something is not a string, or another value is asked for.
        """
        for name, value, known in (
            ("prompt_name", prompt_name, None),
            ("output_value", output_value, "sentence_embedding"),
            ("precision", precision, "float32"),
        ):
            if value != known:
                raise UserError(
                    f"expected {name}={known!r}, the only one there is, got {value!r}: leave it out"
                )
        if strange := task.keys() - MTEB_TASK:
            raise TypeError(f"encode() got an unexpected keyword argument {min(strange)!r}")
        if device is not None:
            torch.nn.Module.to(self.model, device)
        texts = [(prompt or "") + text for text in as_list(_unpacked(sentences))]
        means, deviations = self._posteriors(texts, batch_size, show_progress_bar)
        if normalize_embeddings:
            lengths = torch.linalg.vector_norm(means, dim=1, keepdim=True).clamp_min(1e-12)
            means, deviations = means / lengths, deviations / lengths

        def converted(rows: Tensor) -> NDArray[np.float32] | Tensor | list[Tensor]:
            vectors = rows[0] if isinstance(sentences, str) else rows
            if convert_to_tensor:
                return vectors
            if convert_to_numpy:
                return vectors.cpu().numpy()
            return vectors if isinstance(sentences, str) else list(vectors)

        return (converted(means), converted(deviations)) if return_deviations else converted(means)

    def similarity(self, embeddings1: NDArray[Any] | Tensor, embeddings2: NDArray[Any] | Tensor) -> Tensor:
        """The cosine of each vector of one set with each of the other, (n, m), as `SentenceTransformer.similarity`.

        Args:
            embeddings1: (n, Z), or (Z,) for one.
            embeddings2: (m, Z), or (Z,) for one.
        """
        return _unit(embeddings1) @ _unit(embeddings2).T

    def similarity_pairwise(
        self, embeddings1: NDArray[Any] | Tensor, embeddings2: NDArray[Any] | Tensor
    ) -> Tensor:
        """The cosine of each vector of one set with the same of the other, (n,).

        Args:
            embeddings1: (n, Z).
            embeddings2: (n, Z).
        """
        return (_unit(embeddings1) * _unit(embeddings2)).sum(1)

    @property
    def mteb_model_meta(self) -> Any:
        """What MTEB files the results of this model under: its name and its fingerprint."""
        from mteb.models import ModelMeta

        name = f"textvae/{Path(self.model.name_or_path or 'unnamed').name}"
        return ModelMeta.create_empty({"name": name, "revision": self.fingerprint()})

    def fingerprint(self) -> str:
        """A digest of all that decides what the model says: weights, configuration, tokenizer."""
        own = inspect.get_annotations(type(self.model.config))
        config = {name: getattr(self.model.config, name) for name in own}
        digest = hashlib.sha256(repr((config, self.maximum_length)).encode())
        digest.update(self.tokenizer.backend_tokenizer.to_str().encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def decode(
        self,
        z: NDArray[np.floating] | Tensor,
        *,
        maximum_length: int = 100,
        batch_size: int | None = None,
        seed: int | None = None,
        show_progress_bar: bool | None = None,
        **options: Any,
    ) -> list[str]:
        """The sentences of latent vectors, in their order; greedy unless the options say otherwise.

        Args:
            z: (n, Z), or (Z,) for one.
            maximum_length: a sentence ends after so many tokens at the latest.
            batch_size: vectors at once; None: as many as have 256 beams, or draws.
            seed: of the draws, if there are any; None takes them from the global random state.
            show_progress_bar: None: only on a terminal.
            **options: of `GenerationMixin.generate`: ``num_beams``, ``do_sample``, ``top_p``, ... A ``temperature``,
                ``top_k`` or ``top_p`` implies ``do_sample``, and words are drawn from the model's own distribution,
                not from its 50 likeliest words, unless ``top_k`` says so.

        Returns:
            n strings; n · r, those of one vector side by side, with ``num_return_sequences=r``.

        Raises:
            UserError: if the vectors are not of the model's size, or the seed is out of range.
        """
        check_seed(seed)
        return self._decoded(
            self._vectors(z),
            generator_of(seed),
            decoding(options) | {"max_new_tokens": maximum_length},
            batch_size,
            show_progress_bar,
        )

    def _decoded(
        self,
        vectors: Tensor,
        generator: torch.Generator | None,
        options: dict[str, Any],
        batch_size: int | None,
        show_progress_bar: bool | None,
    ) -> list[str]:
        """The sentences of checked vectors (n, Z)."""
        texts: list[str] = []
        each = max(options.get("num_beams") or 1, options.get("num_return_sequences") or 1)
        with evaluating(self.model), progress(len(vectors), show_progress_bar, "decoding") as bar:
            for part in vectors.split(batch_size or at_once(each)):
                ids = self.model.generate(part, generator=generator, **options)
                texts += decode_rows(self.tokenizer, ids.tolist())
                bar.update(len(part))
        return texts

    def reconstruct(
        self, texts: str | Sequence[str], *, batch_size: int | None = None, **options: Any
    ) -> list[str]:
        """Each text decoded from its posterior mean.

        Args:
            texts: n of them, or a single one.
            batch_size: sentences at once; None: as many as are fast in little memory.
            **options: of `decode`.
        """
        means = self._means(as_list(texts), batch_size, show_progress_bar=False)
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
        return self.decode(z, **({} if self.model.has_latent else {"do_sample": True}) | words | options)

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
        means = self._means(as_list(texts), batch_size, show_progress_bar)
        return means[:, self.model.config.latent_size :].cpu().numpy()

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
        return self.decode(self.path_between(a, b, steps, path), **options)

    def path_between(
        self, a: str, b: str, steps: int = 7, path: Literal["linear", "spherical"] = "linear"
    ) -> NDArray[np.floating]:
        """The vectors that `interpolate` decodes, (steps, Z).

        With `score` they tell how probable the decoder finds each step.

        Args:
            a: where to begin.
            b: where to end.
            steps: number of vectors, the ends counted.
            path: the way between the posterior means, see `latent_space.paths`.

        Raises:
            UserError: if the path is unknown or has fewer than two steps, or the model has no latent.
        """
        if path not in PATHS:
            raise UserError(f"expected path to be one of {', '.join(PATHS)}, got {path!r}")
        first, last = self._means([a, b], 2, show_progress_bar=False).cpu()
        return PATHS[path](first, last, steps)

    def analogy(self, a: str, b: str, c: str, **options: Any) -> str:
        """The sentence that is to ``c`` as ``a`` is to ``b``, decoded from the posterior means a - b + c.

        Args:
            a: what has the property.
            b: what lacks it.
            c: what is to get it.
            **options: of `decode`.

        Raises:
            UserError: if the model has no latent.
        """
        return self.decode(analogy(*self._means([a, b, c], 3, show_progress_bar=False).cpu()), **options)[0]

    def traverse(
        self, text: str, dimension: int, steps: int = 7, reach: float = 3.0, **options: Any
    ) -> list[str]:
        """Sentences decoded from a text's posterior mean, one dimension of which goes from end to end of the prior.

        Args:
            text: where all other dimensions stay.
            dimension: counted from 0.
            steps: number of sentences.
            reach: how far the dimension goes to both sides, in deviations of the prior around its mean.
            **options: of `decode`.

        Raises:
            UserError: if there is no such dimension, or the model has no latent.
        """
        z = self._means([text], 1, show_progress_bar=False).double().cpu()
        with torch.no_grad():
            prior = self.model.prior(1, z.to(self.model.device))
            mean, deviation = prior.mean.cpu(), prior.stddev.cpu()
        path = traversal(((z - mean) / deviation)[0], dimension, np.linspace(-reach, reach, steps))
        return self.decode(mean + deviation * torch.from_numpy(path), **options)

    def neighbours(
        self,
        queries: str | Sequence[str] | NDArray[np.floating] | Tensor,
        corpus: Sequence[str] | NDArray[np.floating] | Tensor,
        k: int = 10,
        *,
        metric: Metric = "cosine",
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Where in a corpus the k nearest are of each query, nearest first, and their distances; both (m, k).

        Args:
            queries: m texts, a single one, or vectors (m, Z) of `encode`.
            corpus: n texts or vectors (n, Z), which may be memory-mapped and larger than memory.
            k: how many.
            metric: of the posterior means.
            batch_size: sentences at once; None: as many as have 4,096 tokens.
            show_progress_bar: None: only on a terminal.

        Raises:
            UserError: if the corpus has fewer than k, or the model has no latent.
        """

        def vectors(given: Any) -> NDArray[np.floating]:
            if isinstance(given, Tensor):
                given = given.cpu().numpy()
            if isinstance(given, np.ndarray) and given.dtype.kind == "f":
                return given
            return self._means(as_list(given), batch_size, show_progress_bar).cpu().numpy()

        return nearest(vectors(queries), vectors(corpus), k, metric)

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
        self, text: str, blank: str = "___", n: int = 5, particles: int = 1000, *, seed: int = 0
    ) -> Fillings:
        """The ``n`` likeliest ways to fill the blanks of a text, each with p(its words | the known words).

        What stands between two spaces is a word, and a blank is one or a part of one: of ``(___)`` the parentheses
        are known. The probabilities are shares of weighted particles, see `inference.filling`. They are as exact as
        their effective sample size says, which grows with the particles; a `UserWarning` tells if it is small.

        Args:
            text: with blanks.
            blank: what stands for a missing word.
            n: how many, at most.
            particles: N.
            seed: of the draws.

        Raises:
            UserError: if one word has two blanks, no particle finds words that fit, the seed is out of range, or the
                model has classes.

        Example:
            >>> for text, probability in vae.fill("the ___ sleeps"):   # doctest: +SKIP
            ...     print(text, probability)
        """
        check_seed(seed)
        if self.model.config.classes is not None:
            raise UserError("expected a model without classes, the only ones that fill blanks, got one with")
        with evaluating(self.model), seeded(generator_of(seed)):
            known = pattern(text, self.tokenizer, blank)
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
        check_seed(seed)
        if samples < 1:
            raise UserError(f"expected 1 sample or more, got {samples}")
        texts = as_list(texts)
        rows = [ids for document in chunks(texts, self.tokenizer, None) for ids in document]
        scores, generator = np.zeros(len(rows)), generator_of(seed)
        with evaluating(self.model):
            for places, batch in self._batches(
                rows, batch_size, show_progress_bar, "scoring", tokens_at_once(samples)
            ):
                found = bounds(self.model, batch, samples, generator=generator)
                scores[places] = -found.iw_nll.double().cpu().numpy()
        return scores

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
        rows = [ids for document in chunks(texts, self.tokenizer, None) for ids in document]
        scores = np.zeros(len(rows))
        with evaluating(self.model):
            for places, batch in self._batches(rows, batch_size, False, "scoring"):
                own = vectors[None, places]
                found = self.model.score(own, batch.inputs, batch.targets, batch.mask)
                scores[places] = found[0].double().cpu().numpy()
        return scores

    def _means(self, texts: list[str], batch_size: int | None, show_progress_bar: bool | None) -> Tensor:
        """The posterior means of the texts in their order, (n, Z) in single precision, on the model's device."""
        return self._posteriors(texts, batch_size, show_progress_bar)[0]

    def _posteriors(
        self, texts: list[str], batch_size: int | None, show_progress_bar: bool | None
    ) -> tuple[Tensor, Tensor]:
        """The means and the deviations of the texts in their order, each as `_means` has them."""
        size = self.model.vector_size
        if not size:
            raise UserError(
                "expected a model with a latent, got a language model (latent_size 0), which has no vectors: train "
                "one with model.latent_size=32; sample and log_likelihood work without"
            )
        with silenced():
            documents = chunks(texts, self.tokenizer, self.maximum_length)
        rows = [ids for document in documents for ids in document]
        means, deviations = torch.zeros(2, len(rows), size, device=self.model.device)
        with evaluating(self.model):
            for places, batch in self._batches(rows, batch_size, show_progress_bar, "encoding"):
                posterior = self.model.encode(batch.targets, batch.mask)
                means[places], deviations[places] = posterior.mean.float(), posterior.stddev.float()
        if len(rows) > len(documents):
            return _averages(means, deviations, documents)
        return means, deviations

    def _batches(
        self,
        rows: list[list[int]],
        batch_size: int | None,
        show_progress_bar: bool | None,
        what: str,
        tokens: int | None = None,
    ) -> Iterator[tuple[list[int], Batch]]:
        """Sentences, given as ids, of like length together, with the places they have in ``rows``."""
        examples = [{"ids": ids, "length": len(ids) + 1} for ids in rows]
        device = self.model.device
        return batches_of(examples, self.fields, batch_size, device, show_progress_bar, what, tokens)

    def _vectors(self, z: NDArray[np.floating] | Tensor) -> Tensor:
        """``z`` as (n, Z) in the model's precision and on its device."""
        # A copy, because torch warns of arrays that it may not write to, such as memory-mapped ones.
        given = z if isinstance(z, Tensor) else torch.from_numpy(np.array(z))
        vectors = given.to(self.model.device, self.model.dtype)
        vectors = vectors[None] if vectors.ndim == 1 else vectors
        size = self.model.vector_size
        if vectors.ndim != 2 or vectors.shape[1] != size:
            raise UserError(
                f"expected vectors of shape (n, {size}), got {tuple(np.shape(z))}: take them from this model's encode"
            )
        return vectors

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


def _unpacked(inputs: str | Iterable[Any]) -> Iterable[Any]:
    """The inputs, with the texts of each batch in place of the batch."""
    if isinstance(inputs, str):
        return [inputs]
    return (text for item in inputs for text in (item["text"] if isinstance(item, Mapping) else [item]))


def _unit(vectors: NDArray[Any] | Tensor) -> Tensor:
    """The vectors, scaled to length 1, (n, Z)."""
    # A copy, because torch warns of arrays that it may not write to, such as memory-mapped ones.
    given = vectors if isinstance(vectors, Tensor) else torch.from_numpy(np.array(vectors))
    return torch.nn.functional.normalize(torch.atleast_2d(given).float(), dim=1)


def _averages(
    means: Tensor, deviations: Tensor, documents: Sequence[Sequence[Sequence[int]]]
) -> tuple[Tensor, Tensor]:
    """The mean of each document's chunks, weighted by their lengths, and its deviation, both (n, Z)."""
    lengths = [[len(ids) + 1 for ids in document] for document in documents]
    shares = [length / sum(own) for own in lengths for length in own]
    weights = torch.tensor(shares, device=means.device)[:, None]
    counts = torch.tensor([len(document) for document in documents], device=means.device)
    variances = torch.segment_reduce((weights * deviations) ** 2, "sum", lengths=counts)
    return torch.segment_reduce(weights * means, "sum", lengths=counts), variances.sqrt()
