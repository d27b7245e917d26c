"""The jobs of `throughput.py`, each implemented by the package and by the textbook."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice
from typing import Any

import measure
import torch
from datasets import Dataset
from measure import BATCH, clock, endless, flops, new_config, new_model, precision, seconds_of
from textbook import TextbookVAE, generate, iw_nll, train_step
from torch import Tensor
from transformers import PreTrainedTokenizerBase, TrainerCallback

from textvae.interfaces.readable import AS_IT_IS
from textvae.interfaces.text_vae import TextVAE
from textvae.models.language import TextVAEConfig, TextVAEModel
from textvae.objectives.elbo import ELBO
from textvae.text.batches import Batch
from textvae.text.fields import Fields, TextField
from textvae.training.arguments import TextVAETrainingArguments
from textvae.training.trainer import TextVAETrainer

SAMPLES = 500
"""K of the importance-weighted bound."""

WRITTEN = {"sample": (64, 1), "beam": (16, 4)}
"""Number of generated sentences, and beams for each."""

TOKENS = 30
"""Tokens in each generated sentence."""

OPTIMIZERS: dict[str, tuple[str, type[torch.optim.Optimizer], float]] = {
    "lstm": ("sgd", torch.optim.SGD, 1.0),
    "dilated_convolution": ("adamw_torch_fused", torch.optim.AdamW, 1e-3),
}
"""Optimisers of the recipes, by kind of decoder: the package's, the textbook's, and the learning rate."""

Run = Callable[[], float]
"""A function that does the work of one round and returns the seconds that it took."""


@dataclass(frozen=True)
class Setting:
    """A model, its dtype and device, the number of steps in a round, and the texts and tokenizer."""

    model: str
    dtype: str
    device: str
    steps: int
    texts: Sequence[str]
    tokenizer: PreTrainedTokenizerBase

    @property
    def config(self) -> TextVAEConfig:
        """The configuration of the model."""
        return new_config(self.model, len(self.tokenizer))

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """The id of each word."""
        return self.tokenizer.get_vocab()

    @property
    def fields(self) -> Fields:
        """The fields that the model reads."""
        return Fields([TextField(self.tokenizer)])

    def new_model(self) -> TextVAEModel:
        """A model with random weights."""
        return new_model(self.config, self.device)

    def sentences(self, count: int) -> list[str]:
        """The first ``count`` sentences of the corpus; if it has fewer, it is repeated."""
        return list(islice(cycle(self.texts), count))

    def batches(self, texts: Sequence[str]) -> Iterable[Batch]:
        """Padded batches of the sentences in random order, as in published code."""
        unknown = self.tokenizer.unk_token_id
        rows = [{"ids": [self.vocabulary.get(word, unknown) for word in text.split()]} for text in texts]
        for part in torch.randperm(len(rows)).split(BATCH):
            yield self.fields.collate([rows[row] for row in part.tolist()]).to(self.device)

    def timed(self, call: Callable[[], Any]) -> Run:
        """A call of the package as a `Run`."""

        def run() -> float:
            with precision(self.dtype, self.device):
                return seconds_of(call, self.device)

        return run


@dataclass(frozen=True)
class Job:
    """The work that contenders do, and its size.

    Attributes:
        contenders: for each name, a function that builds a model and returns its `Run`; all do the same work.
        steps: number of steps in this work.
        tokens: number of tokens in this work.
        flops: floating-point operations in this work.
    """

    contenders: dict[str, Callable[[], Run]]
    steps: int
    tokens: int
    flops: int


def train(setting: Setting) -> Job:
    """Training steps: by the trainer, without it, by the textbook, and by the textbook on the trainer's batches."""
    texts = setting.sentences(setting.steps * BATCH)
    rows = setting.fields.prepare(Dataset.from_dict({"text": texts}))

    def on_same_batches() -> Run:
        batches = list(new_trainer(setting, rows).get_train_dataloader())
        return textbook_training(setting, lambda: batches)

    contenders = {
        "ours": lambda: training(setting, rows),
        "textbook": lambda: textbook_training(setting, lambda: setting.batches(texts)),
        "step": lambda: bare_steps(setting, rows),
        "textbook_on_same_batches": on_same_batches,
    }
    work = (len(rows), sum(rows["length"]))
    return Job(contenders, setting.steps, work[1], 3 * flops(setting.config, work, work))


def new_trainer(setting: Setting, rows: Dataset) -> TextVAETrainer:
    """A trainer for one epoch that neither evaluates nor saves."""
    optimizer, _, learning_rate = OPTIMIZERS[setting.config.decoder["kind"]]
    arguments = TextVAETrainingArguments(
        output_dir=tempfile.gettempdir(),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        optim=optimizer,
        learning_rate=learning_rate,
        lr_scheduler_type="constant",
        max_grad_norm=5.0,
        logging_steps=100,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        bf16=setting.dtype == "bf16",
        use_cpu=setting.device == "cpu",
    )
    return TextVAETrainer(setting.new_model(), arguments, ELBO(), setting.fields, train_dataset=rows)


def training(setting: Setting, rows: Dataset) -> Run:
    """An epoch of the trainer, including data loading."""
    trainer, watch = new_trainer(setting, rows), Stopwatch(setting.device)
    trainer.add_callback(watch)

    def run() -> float:
        trainer.train()
        return watch.seconds

    return run


class Stopwatch(TrainerCallback):
    """Measures the seconds of a training, from before the first batch to after the last step."""

    def __init__(self, device: str) -> None:
        self.device, self.seconds = device, 0.0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.seconds = -clock(self.device)

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop the clock."""
        self.seconds += clock(self.device)


def bare_steps(setting: Setting, rows: Dataset) -> Run:
    """The same steps without the trainer, on prepared batches."""
    trainer = new_trainer(setting, rows)
    model, optimizer = trainer.vae, trainer.create_optimizer()
    batches = list(trainer.get_train_dataloader())

    def run() -> None:
        model.train()
        for batch in batches:
            measure.train_step(model, optimizer, batch, setting.dtype, setting.device)

    return lambda: seconds_of(run, setting.device)


def textbook_training(setting: Setting, batches: Callable[[], Iterable[Batch]]) -> Run:
    """Training steps of the textbook, one for each batch."""
    model = TextbookVAE(setting.new_model())
    _, optimizer_type, learning_rate = OPTIMIZERS[setting.config.decoder["kind"]]
    optimizer = optimizer_type(model.parameters(), lr=learning_rate)  # type: ignore[call-arg]
    return lambda: seconds_of(
        lambda: [train_step(model, optimizer, batch) for batch in batches()], setting.device
    )


def evaluate(setting: Setting) -> Job:
    """The importance-weighted bound of sentences, K = `SAMPLES`."""
    texts = setting.sentences(setting.steps)

    def ours() -> Run:
        vae = TextVAE(setting.new_model(), setting.tokenizer)
        return setting.timed(lambda: vae.log_likelihood(texts, SAMPLES, show_progress_bar=False))

    def textbook() -> Run:
        model = TextbookVAE(setting.new_model()).eval()
        return lambda: seconds_of(
            lambda: [iw_nll(model, batch, SAMPLES) for batch in setting.batches(texts)], setting.device
        )

    read = (len(texts), count_tokens(texts))
    written = (read[0] * SAMPLES, read[1] * SAMPLES)
    work = flops(setting.config, read, written)
    return Job({"ours": ours, "textbook": textbook}, setting.steps, written[1], work)


def encode(setting: Setting) -> Job:
    """The posterior means of sentences."""
    texts = setting.sentences(setting.steps * BATCH)

    def ours() -> Run:
        vae = TextVAE(setting.new_model(), setting.tokenizer)
        return setting.timed(lambda: vae.encode(texts, show_progress_bar=False))

    def textbook() -> Run:
        model = TextbookVAE(setting.new_model()).eval()

        @torch.no_grad()
        def run() -> list[Tensor]:
            return [model.encode(batch.targets, batch.lengths)[0].cpu() for batch in setting.batches(texts)]

        return lambda: seconds_of(run, setting.device)

    read = (len(texts), count_tokens(texts))
    work = flops(setting.config, read)
    return Job({"ours": ours, "textbook": textbook}, setting.steps, read[1], work)


def write(setting: Setting, job: str) -> Job:
    """Generate sentences, greedily or by beam search."""
    sentences, beams = WRITTEN[job]
    options: dict[str, Any] = {"maximum_length": TOKENS, "batch_size": sentences, **AS_IT_IS} | (
        {"num_beams": beams} if beams > 1 else {}
    )

    def ours() -> Run:
        vae = TextVAE(endless(setting.new_model()), setting.tokenizer)
        return setting.timed(lambda: vae.sample(sentences, seed=0, show_progress_bar=False, **options))

    def textbook() -> Run:
        source = endless(setting.new_model())
        z = torch.randn(sentences, source.config.latent_size, device=setting.device)
        model, begin = TextbookVAE(source).eval(), source.config.bos_token_id
        return lambda: seconds_of(lambda: generate(model, z, begin, TOKENS, beams), setting.device)

    tokens = sentences * TOKENS
    work = flops(setting.config, written=(sentences, beams * tokens))
    return Job({"ours": ours, "textbook": textbook}, TOKENS, tokens, work)


def count_tokens(texts: Sequence[str]) -> int:
    """Number of words and EOS tokens."""
    return sum(len(text.split()) + 1 for text in texts)


JOBS: dict[str, Callable[[Setting], Job]] = {
    "train": train,
    "evaluate": evaluate,
    "encode": encode,
    "sample": lambda setting: write(setting, "sample"),
    "beam": lambda setting: write(setting, "beam"),
}
