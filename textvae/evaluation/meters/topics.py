"""Clusters of documents beside those of TF-IDF, SVD and k-means on the same documents."""

from __future__ import annotations

from typing import Any, Self

from sklearn.preprocessing import normalize

from textvae.evaluation.cluster_quality import BASELINE, compare_clusters
from textvae.evaluation.meters.sampled import Sampled
from textvae.evaluation.quantities import PERCENT, Description, Setting
from textvae.latent_space.clusters import Clusters, fit_clusters
from textvae.support.errors import UserError
from textvae.text.counts import CountsField

CLUSTERS = 10
"""Number of clusters if there are no classes, as in ``textvae cluster``."""


class Topics(Sampled):
    """How good k-means clusters of the directions of z are; with classes, there are as many clusters."""

    describes = (
        Description("cluster_stability", greater_is_better=True),
        Description("cluster_stability_linear", label="… linear"),
        Description("cluster_silhouette", decimals=3, greater_is_better=True),
        Description("cluster_silhouette_linear", decimals=3, label="… linear"),
        Description("cluster_accuracy", PERCENT, decimals=1, greater_is_better=True),
        Description("cluster_accuracy_linear", PERCENT, decimals=1, label="… linear"),
        Description("cluster_nmi", greater_is_better=True),
        Description("cluster_nmi_linear", label="… linear"),
    )

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """For models that read bags of words."""
        kinds = setting.model.field_kinds(setting.model.config)
        return super().of(setting) if any(issubclass(kind, CountsField) for kind in kinds) else None

    def results(self) -> dict[str, tuple[Any, str]]:
        """Stability and silhouette and, with classes, accuracy and NMI; each for z and for the baseline."""
        labels = self.rows["label"][:] if "label" in self.rows.column_names else None
        classes = (
            None if labels is None else [None if label in (None, -1) else str(label) for label in labels]
        )
        k = CLUSTERS if classes is None else len(set(classes) - {None})
        vectors = normalize(self.means())

        def fit(part: Any, seed: int) -> Clusters:
            return fit_clusters(part, k, "k-means", random_state=seed)

        try:
            clusters = fit(vectors, self.seed)
        except UserError:  # fewer different vectors than clusters
            return {}
        found = compare_clusters(self.texts(), vectors, clusters, fit, classes, self.seed)
        if found is None:
            return {}
        ways = {
            "stability": (
                "halves",
                f"{k} clusters; adjusted Rand index of fits to halves of {len(vectors):,} texts",
            ),
            "silhouette": ("silhouette", "among TF-IDF vectors"),
            "accuracy": ("accuracy", "best matching of clusters with classes"),
            "nmi": ("nmi", "normalised mutual information with the classes"),
        }
        pairs = {
            f"cluster_{name}{side}": (getattr(quality, field), how if not side else f"the same by {BASELINE}")
            for name, (field, how) in ways.items()
            for side, quality in (("", found.ours), ("_linear", found.baseline))
        }
        return {name: pair for name, pair in pairs.items() if pair[0] is not None}
