"""Forward and reverse perplexity of samples.

The forward perplexity, of samples under a language model of the data, is low if the samples look like data, even if all
are the same sentence. The reverse perplexity, of data under a language model of the samples, is low only if the samples
cover the data (Zhao et al. 2018).

References:
    Adversarially Regularized Autoencoders (Zhao et al. 2018), https://arxiv.org/abs/1706.04223
"""

from __future__ import annotations

from collections.abc import Sequence

from datasets import Dataset

from textvae.evaluation.evaluate import evaluate
from textvae.models.language import TextVAEModel
from textvae.support.errors import UserError
from textvae.text.fields import Fields
from textvae.text.samplers import evaluation_loader


def perplexity(model: TextVAEModel, fields: Fields, texts: Sequence[str], batch_size: int = 32) -> float:
    """The exact perplexity per token of texts under a language model; EOS counts as a token.

    Forward: a model of the data, and sampled texts. Reverse: a model of the samples, and held-out data. Perplexities
    are comparable only between models with the same tokenizer.

    Args:
        model: a language model, ``latent_size`` 0.
        fields: the model's fields.
        texts: sentences.
        batch_size: sentences per batch.

    Raises:
        UserError: if the model has a latent, or there are no texts.
    """
    if model.config.latent_size:
        raise UserError(
            f"expected a language model without a latent, got latent_size {model.config.latent_size}, whose likelihood "
            "is only bounded: train one with model.latent_size=0"
        )
    if not texts:
        raise UserError("expected texts to measure, got none")
    tokens = fields.prepare(Dataset.from_dict({"text": list(texts)}))
    return evaluate(model, evaluation_loader(tokens, fields, batch_size)).ppl
