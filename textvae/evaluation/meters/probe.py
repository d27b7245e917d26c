"""What z knows of a text: its length, the words that tell topics, and the most common words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from textvae.evaluation.meters.sampled import Sampled
from textvae.evaluation.quantities import Description
from textvae.support.errors import UserError
from textvae.text.vocabulary import CountOptions, Vocabulary

WORDS = 20
"""Words of each kind that are probed: those in the most texts."""

RARE = 20
"""A word is probed if at least this many texts have it, and this many have it not."""

FEWEST_WORDS = 3

FOLDS = 5


class Probe(Sampled):
    """Linear probes of the posterior means: ridge regressions, cross-validated.

    A model may use its z well and still know nothing of topics: the numbers tell what the KL is spent on.
    """

    describes = (
        Description("z_knows_topic_words", label="z knows topic words", greater_is_better=True),
        Description("z_knows_common_words", label="z knows common words", greater_is_better=True),
        Description("z_knows_length", label="z knows length", greater_is_better=True),
    )

    def results(self) -> dict[str, tuple[Any, str]]:
        """AUC of the presence of words, and R² of the logarithm of the length."""
        texts = self.texts()
        try:
            vocabulary = Vocabulary.learn(texts, CountOptions())
        except UserError:  # no text has a word
            return {}
        z = self.means()
        found: dict[str, tuple[Any, str]] = {}
        kinds = {"topic": vocabulary.words, "common": sorted(vocabulary.stop_words)}
        for name, words in kinds.items():
            presence = _presence(texts, vocabulary, words)
            if presence.shape[1] >= FEWEST_WORDS:
                auc = roc_auc_score(presence, self._predicted(z, presence), average="macro")
                how = f"AUC, 0.5 is chance; which of {presence.shape[1]} words a text has"
                found[f"z_knows_{name}_words"] = (float(auc), how)
        length = np.log1p([len(vocabulary.units(text)) for text in texts])
        if length.min() < length.max():
            r2 = float(r2_score(length, self._predicted(z, length)))
            found["z_knows_length"] = (r2, "R² of the logarithm of the number of words")
        return found

    def _predicted(self, z: NDArray[Any], wanted: NDArray[Any]) -> NDArray[Any]:
        """What a ridge regression predicts of texts that it was not fitted to, in the shape of ``wanted``."""
        folds = KFold(FOLDS, shuffle=True, random_state=self.seed % 2**32)
        return cross_val_predict(make_pipeline(StandardScaler(), Ridge()), z, wanted, cv=folds)


def _presence(texts: list[str], vocabulary: Vocabulary, words: list[str]) -> NDArray[Any]:
    """Which texts have each of the most widespread of the words, 0 or 1, (n, at most `WORDS`)."""
    if not words:
        return np.empty((len(texts), 0))
    counter = CountVectorizer(analyzer=vocabulary.units, vocabulary=words, binary=True)
    table = counter.transform(texts)
    having = table.sum(0).A1
    probed = np.flatnonzero((having >= RARE) & (having <= len(texts) - RARE))
    probed = probed[np.argsort(-having[probed], kind="stable")][:WORDS]
    return table[:, probed].toarray()
