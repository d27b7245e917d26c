"""Training on `transformers.Trainer`: its loop, precision, accumulation, processes, logging and resume."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset
from transformers import (
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from textvae.errors import UserError
from textvae.evaluation.evaluate import evaluate
from textvae.models.language import TextVAEModel
from textvae.objectives.elbo import ELBO, Terms
from textvae.text.batches import Collator, LengthGroupedSampler, evaluation_loader
from textvae.training.plateau import DecayOnPlateau


@dataclass
class TextVAETrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` with what a text VAE needs; the first three are new, the rest other defaults.

    Attributes:
        evaluation_samples: K of the importance-weighted bound of evaluations during training.
        decay_on_plateau: arguments of `DecayOnPlateau`; {} takes its defaults, None does without it.
        early_stopping_patience: training ends after so many evaluations without a new best; None: it does not.
        metric_for_best_model: the best checkpoint is that of the best bound at KL weight 1, whatever the schedule.
        logging_nan_inf_filter: off, since a loss that is no number must end the run and not be averaged away.
        save_total_limit: the best and the last; with 1, `transformers` deletes the last when training ends, and a
            run that is killed before it is measured would train its end again.
        ddp_find_unused_parameters: off, since none is; the search would not look into the posterior either.
        restore_callback_states_from_checkpoint: on, or a resumed `DecayOnPlateau` would begin to count anew.
    """

    evaluation_samples: int = 1
    decay_on_plateau: dict[str, Any] | None = None
    early_stopping_patience: int | None = None
    metric_for_best_model: str | None = "neg_elbo"
    greater_is_better: bool | None = False
    load_best_model_at_end: bool = True
    eval_strategy: IntervalStrategy | str = "epoch"
    save_strategy: SaveStrategy | str = "epoch"
    save_total_limit: int | None = 2
    per_device_train_batch_size: int = 32
    per_device_eval_batch_size: int = 32
    logging_nan_inf_filter: bool = False
    restore_callback_states_from_checkpoint: bool = True
    ddp_find_unused_parameters: bool | None = False
    dataloader_pin_memory: bool = torch.cuda.is_available()
    report_to: str | list[str] | None = "none"

    def __post_init__(self) -> None:
        # The collator reads a column that no model's forward names.
        self.remove_unused_columns = False
        # The batches carry their targets in the model's own terms, so there are no "labels" to look for.
        self.label_names = []
        super().__post_init__()


class TextVAETrainer(Trainer):
    """`transformers.Trainer` for a model that returns a `VAEOutput`.

    The loss is an objective of the output and the step; its terms are logged by name. Evaluation reports the
    quantities of `evaluation.evaluate`, so the same code counts during training and afterwards.

    Args:
        model: what is trained.
        args: see `TextVAETrainingArguments`.
        objective: the loss.
        tokenizer: saved beside the model; its ids make the batches.
        **kwargs: of `transformers.Trainer`; the data sets have a column ``ids``, and ``length`` for grouping.
    """

    def __init__(
        self,
        model: TextVAEModel,
        args: TextVAETrainingArguments,
        objective: ELBO,
        tokenizer: PreTrainedTokenizerBase,
        **kwargs: Any,
    ) -> None:
        self.collator = Collator.for_tokenizer(tokenizer)
        super().__init__(
            model=model, args=args, processing_class=tokenizer, data_collator=self.collator, **kwargs
        )
        self.arguments = args
        self.objective: ELBO = objective
        # These two write every log as a dict; `Progress` writes what a person reads.
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        if args.decay_on_plateau is not None:
            self.add_callback(DecayOnPlateau(**args.decay_on_plateau))
        if args.early_stopping_patience is not None:
            self.add_callback(EarlyStoppingCallback(args.early_stopping_patience))
        self._sums: dict[str, Tensor] = {}
        # The soft-max of a model that is sure of a word underflows to denormal numbers, and a CPU multiplies
        # matrices of those some three hundred times slower.
        torch.set_flush_denormal(True)
        # Seeded alike, all processes would draw the same z and drop the same words for their different sentences.
        set_seed(args.seed + args.process_index)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """The objective's loss of one batch."""
        output = model(**inputs)
        terms = self.objective(output, self.state.global_step)
        self._count(terms)
        return (terms.loss, output) if return_outputs else terms.loss

    def _count(self, terms: Terms) -> None:
        """Add a batch to the sums that the next log divides; nothing is read from the device here."""
        with torch.no_grad():
            for name, values in terms.per_sentence.items():
                pair = torch.stack([values.sum(), values.new_tensor(float(len(values)))])
                self._sums[name] = self._sums.get(name, 0) + pair

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log ``logs`` and, behind a training loss, the mean of each term since the last time and the KL weight.

        Raises:
            UserError: if the loss is no longer a number.
        """
        if "loss" in logs:
            for name, pair in self._sums.items():
                total, count = self.accelerator.reduce(pair).tolist()
                logs[name] = total / count
            self._sums.clear()
            logs["kl_weight"] = self.objective.kl_weight(self.state.global_step)
        self._stop_unless_finite(logs.get("loss", logs.get("eval_neg_elbo", 0.0)))
        super().log(logs, start_time)

    def _stop_unless_finite(self, loss: float) -> None:
        """End training before the next checkpoint, which would hold weights that are no numbers."""
        if not math.isfinite(loss):
            kept = self.state.best_model_checkpoint or "none yet"
            raise UserError(
                f"expected a finite loss, got {loss} by step {self.state.global_step}: lower training.learning_rate "
                f"or training.max_grad_norm; the last good checkpoint: {kept}"
            )

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """The quantities of `evaluation.evaluate` on a data set, each name behind ``metric_key_prefix``."""
        model = self.accelerator.unwrap_model(self.model)
        # Every process evaluates every sentence, so that the result does not depend on how many there are.
        dataset = eval_dataset if eval_dataset is not None else self.eval_dataset
        loader = evaluation_loader(dataset, self.collator, self.args.per_device_eval_batch_size)
        with self.compute_loss_context_manager():
            result = evaluate(model, loader, samples=self.arguments.evaluation_samples, seed=self.args.seed)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in result.to_dict().items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> torch.utils.data.Sampler | None:
        """Batches of one length, in an order that is a function of seed and epoch alone."""
        dataset: Any = train_dataset if train_dataset is not None else self.train_dataset
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            return None
        step_size = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return LengthGroupedSampler(
            dataset["length"], step_size, seed=seed, epoch=lambda: int(self.state.epoch or 0)
        )
