"""Perplexities between samples and data.

The perplexity of samples under a language model of the data (forward) is low where samples look like data, also if they
are all one sentence; that of data under a language model of the samples (reverse) is low only where the samples cover
the data (Zhao et al. 2018).

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
    """The perplexity per token of texts under a language model, exact; EOS is a token.

    Forward: a model of the data and sampled texts. Reverse: a model of samples and held-out data. Only those of
    models with one tokenizer compare.

    Args:
        model: a language model, ``latent_size`` 0.
        fields: the model's.
        texts: sentences.
        batch_size: sentences at once.

    Raises:
        UserError: if the model has a latent, or there is no text.
    """
    if model.config.latent_size:
        raise UserError(
            f"expected a language model, got one with latent_size {model.config.latent_size}: its likelihood is only "
            "bounded; train one with model.latent_size=0"
        )
    if not texts:
        raise UserError("expected texts to measure, got none")
    tokens = fields.prepare(Dataset.from_dict({"text": list(texts)}))
    return evaluate(model, evaluation_loader(tokens, fields, batch_size)).ppl
