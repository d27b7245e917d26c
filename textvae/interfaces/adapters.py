"""The names by which other libraries ask for the vectors of texts."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any


class Metrics:
    """Takes the results of sentence-transformers' evaluators, which write them into a model card.

    Attributes:
        results: the numbers of each evaluator, by its name.
    """

    def __init__(self) -> None:
        self.results: dict[str, dict[str, float]] = {}

    def set_evaluation_metrics(
        self, evaluator: Any, metrics: dict[str, float], epoch: int = 0, step: int = 0
    ) -> None:
        """Keep the numbers."""
        self.results[evaluator.name or type(evaluator).__name__] = metrics


class Adapters:
    """What sentence-transformers' evaluators and tools, MTEB and LangChain call beside `encode`."""

    model: Any

    @abstractmethod
    def encode(self, sentences: Any = None, **options: Any) -> Any:
        """The vectors of texts."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A digest of the model."""

    def encode_query(self, sentences: Any = None, **options: Any) -> Any:
        """The same as `encode`: these models do not tell queries from documents."""
        return self.encode(sentences, **options)

    def encode_document(self, sentences: Any = None, **options: Any) -> Any:
        """The same as `encode`: these models do not tell queries from documents."""
        return self.encode(sentences, **options)

    @property
    def similarity_fn_name(self) -> str:
        """The similarity that `similarity` computes, as sentence-transformers names it."""
        return "cosine"

    def get_embedding_dimension(self) -> int:
        """Z, the size of a vector."""
        return self.model.vector_size

    @property
    def model_card_data(self) -> Metrics:
        """Where sentence-transformers' evaluators leave their results."""
        return self.__dict__.setdefault("_metrics", Metrics())

    def embed_query(self, text: str) -> list[float]:
        """The vector of a text as a list, as LangChain asks for it."""
        return self.encode(text, show_progress_bar=False).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of texts as lists, as LangChain asks for them."""
        return self.encode(texts, show_progress_bar=False).tolist()

    @property
    def mteb_model_meta(self) -> Any:
        """The name and the fingerprint under which MTEB stores this model's results."""
        from mteb.models import ModelMeta

        name = f"textvae/{Path(self.model.name_or_path or 'unnamed').name}"
        return ModelMeta.create_empty({"name": name, "revision": self.fingerprint()})
