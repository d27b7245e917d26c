"""Train a VAE with the loop, precision, accumulation, processes, logging and resuming of `transformers.Trainer`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import datasets
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    set_seed,
)

from textvae.evaluation.diagnosis import diagnose
from textvae.evaluation.evaluate import evaluate
from textvae.evaluation.quantities import Training
from textvae.models.base import VAEModel
from textvae.models.outputs import VAEOutput
from textvae.models.refinement import Refinement
from textvae.objectives.terms import Objective, Terms
from textvae.support.errors import UserError
from textvae.support.finite import FiniteWatch, not_finite
from textvae.support.held import flushing_denormals, undisturbed
from textvae.support.options import set_fields
from textvae.support.precision import check_bf16
from textvae.support.quiet import silenced
from textvae.text.batches import Batch
from textvae.text.fields import Fields
from textvae.text.samplers import (
    LengthGroupedSampler,
    TokenBatchSampler,
    evaluation_loader,
    grouping_lengths,
    token_counts,
)
from textvae.training.aggressive import AggressiveEncoder, random_batches
from textvae.training.arguments import TextVAETrainingArguments
from textvae.training.idle import idle_weights
from textvae.training.judged import unmeasured
from textvae.training.multiplier import RateMultiplier
from textvae.training.plateau import DecayOnPlateau
from textvae.training.requirements import check_aggressive, check_batches, check_data_sets

AnyCallback = TypeVar("AnyCallback", bound=TrainerCallback)


class TextVAETrainer(Trainer):
    """`transformers.Trainer` for a model that returns a `VAEOutput`.

    The loss is an objective of the output and the step; its terms are logged by name. Evaluations during training
    report the quantities of `evaluation.evaluate`, the same code as after training.

    Args:
        model: the model to train.
        args: the training arguments.
        objective: the objective, which computes the loss.
        fields: the fields of the model, which collate the batches and are saved with the model.
        **kwargs: arguments of `transformers.Trainer`; the data sets have the columns that the fields prepare.

    Raises:
        UserError: if an option does not fit the data or the kind of training.
    """

    def __init__(
        self,
        model: VAEModel,
        args: TextVAETrainingArguments,
        objective: Objective,
        fields: Fields,
        **kwargs: Any,
    ) -> None:
        if args.bf16:
            check_bf16(model, args.device)
        if faults := idle_weights(set_fields(objective), type(model), model.config):
            raise UserError("; ".join(faults))
        self.fields = fields
        options: Any = {"processing_class": fields, "data_collator": fields.collate, **kwargs}
        with undisturbed():  # the parent seeds the global random states
            super().__init__(model=model, args=args, **options)
        # The same objects as the parent's `model` and `args`, with their exact types.
        self.vae, self.arguments = model, args
        self.objective: Objective = objective
        self.refinement = None if args.refinement is None else Refinement(**args.refinement)
        # These two print each log as a dict; `Progress` replaces them.
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        if args.decay_on_plateau is not None:
            self.add_callback(DecayOnPlateau(**args.decay_on_plateau))
        if args.early_stopping_patience is not None:
            self.add_callback(EarlyStoppingCallback(args.early_stopping_patience))
        if args.aggressive is not None:
            check_aggressive(args, model, fields, self.train_dataset)
            self.add_callback(AggressiveEncoder(**args.aggressive))
        check_data_sets(args, self.eval_dataset)
        check_batches(args, model)
        if args.eval_strategy != "no" and (faults := unmeasured(vars(args), model, fields)):
            raise UserError("; ".join(faults))
        if objective.target_rate is not None:
            self.add_callback(RateMultiplier(objective.target_rate))
        self._sums: dict[str, Tensor] = {}
        self._watch = FiniteWatch()
        self._sentences_per_batch: float | None = None
        self._random_batches = random_batches(
            self.train_dataset, fields, args.train_batch_size, args.seed, mixed=model.normalizes_batches
        )
        self._caught_up = -1

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train from the seed, or from a checkpoint; the global random states are as before afterwards."""
        with undisturbed(), flushing_denormals():
            # Each process needs its own seed: with the same one, all would use the same noise for z and word dropout.
            set_seed(self.args.seed + self.args.process_index)
            return super().train(*args, **kwargs)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """The loss of one batch."""
        output, terms = self._terms(model, inputs)
        if self._sentences_per_batch is not None:
            share = Batch(inputs).size / self._sentences_per_batch
            terms = replace(terms, loss=share * terms.loss)
        self._watch.observe(terms.loss)
        self._count(terms.per_sentence)
        if (multiplier := self._callback(RateMultiplier)) is not None:
            multiplier.observe(terms.rate)
        return (terms.loss, output) if return_outputs else terms.loss

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Compute the gradients of one batch; in the aggressive phase, update the encoder first."""
        aggressive = self._callback(AggressiveEncoder)
        if aggressive is not None and aggressive.active and self._caught_up != self.state.global_step:
            self._caught_up = self.state.global_step
            optimizer: Any = getattr(self.optimizer, "optimizer", self.optimizer)
            updates = aggressive.catch_up(self.vae, optimizer, self._losses(model), self._clip)
            self._count({"encoder_updates": torch.tensor([float(updates)], device=self.args.device)})
        return super().training_step(model, inputs, *args, **kwargs)

    @property
    def kl_weight(self) -> float | Tensor:
        """The KL weight of the current step."""
        multiplier = self._callback(RateMultiplier)
        return self.objective.kl_weight(self.state.global_step) if multiplier is None else multiplier.value

    def start_multiplier(self, value: float) -> None:
        """Set the initial KL weight of a target rate, such as that of the first stage; no effect without one."""
        multiplier = self._callback(RateMultiplier)
        if multiplier is not None:
            multiplier.value = value

    def _terms(self, model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[VAEOutput, Terms]:
        """The model's output for a batch and the terms of the objective."""
        weight = self.kl_weight
        refined = (
            {} if self.refinement is None else {"refinement": self.refinement, "kl_weight": float(weight)}
        )
        output = model(**inputs, samples=self.objective.samples, draw=self.objective.draw, **refined)
        return output, self.objective(output, weight)

    def _callback(self, kind: type[AnyCallback]) -> AnyCallback | None:
        """The callback of this class, if there is one. Resuming replaces the callback that was added."""
        return next((found for found in self.callback_handler.callbacks if isinstance(found, kind)), None)

    def _losses(self, model: torch.nn.Module) -> Iterator[tuple[Tensor, float]]:
        """The loss and the mean number of tokens of each of an endless series of random batches."""
        model.train()
        for batch in self._random_batches:
            inputs = self._prepare_inputs(batch)
            with self.compute_loss_context_manager():
                yield self._terms(model, inputs)[1].loss, batch.tokens / batch.size

    def _clip(self) -> None:
        """Clip the gradients as in a normal step."""
        if self.args.max_grad_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.vae.parameters(), self.args.max_grad_norm)

    def _count(self, terms: dict[str, Tensor]) -> None:
        """Add a batch to the sums for the means in the next log, without synchronising the device."""
        with torch.no_grad():
            for name, values in terms.items():
                pair = torch.stack([values.sum(), values.new_tensor(float(len(values)))])
                self._sums[name] = self._sums.get(name, 0) + pair

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log ``logs`` and, with a training loss, the KL weight and the mean of each term since the last log.

        Raises:
            UserError: if the loss is NaN or infinite.
        """
        if "loss" in logs:
            for name, pair in self._sums.items():
                total, count = self.accelerator.reduce(pair).tolist()
                if count:
                    logs[name] = total / count
            self._sums.clear()
            logs["kl_weight"] = float(self.kl_weight)
        self._stop_unless_finite(logs.get("loss", logs.get("eval_neg_elbo", 0.0)))
        self._check_losses()
        super().log(logs, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, after a check that losses and weights are finite. Each checkpoint begins with this call.

        Raises:
            UserError: if a loss or a weight is NaN or infinite.
        """
        self._check_losses()
        self.check_weights()
        super().save_model(output_dir, _internal_call)

    def _save_checkpoint(self, *args: Any) -> None:
        """Save a checkpoint; silent, because the parent remarks on checkpoints that were made in the same second."""
        with silenced():
            super()._save_checkpoint(*args)

    def check_weights(self) -> None:
        """Check that the weights are finite. They can be NaN or infinite before a loss shows it.

        Raises:
            UserError: if a weight is NaN or infinite.
        """
        if names := not_finite(self.vae.state_dict()):
            raise self._diverged(f"finite weights, got NaN or infinity in {names[0]}")

    def _check_losses(self) -> None:
        """Raise an error if any loss of any process was NaN or infinite, even if it was not logged."""
        if (faults := self._watch.faults) is not None and self.accelerator.reduce(faults).item():
            self._watch = FiniteWatch()
            self._stop_unless_finite(math.nan)

    def _stop_unless_finite(self, loss: float) -> None:
        """Raise an error if the loss is NaN or infinite, before a checkpoint with such weights is saved."""
        if not math.isfinite(loss):
            raise self._diverged(f"a finite loss, got {loss}")

    def _diverged(self, what: str) -> UserError:
        kept = self.state.best_model_checkpoint or "none yet"
        return UserError(
            f"expected {what} at step {self.state.global_step}: lower training.learning_rate or "
            f"training.max_grad_norm; the best checkpoint is {kept}"
        )

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """The quantities of `evaluation.evaluate` on a data set, with ``metric_key_prefix`` before each name.

        If the data sets are a dict, the prefix also has the name of each, as in ``eval_long_neg_elbo``.
        """
        dataset: Any = eval_dataset if eval_dataset is not None else self.eval_dataset
        if isinstance(dataset, dict):
            found: dict[str, float] = {}
            for name, each in dataset.items():
                found |= self.evaluate(each, ignore_keys, f"{metric_key_prefix}_{name}")
            return found
        model = self.accelerator.unwrap_model(self.model)
        loader = evaluation_loader(dataset, self.fields, self.args.per_device_eval_batch_size)
        with self.compute_loss_context_manager():
            result = evaluate(
                model,
                loader,
                samples=self.arguments.evaluation_samples,
                seed=self.args.seed,
                refinement=self.refinement,
                fields=self.fields,
            )
        metrics: dict[str, Any] = {
            f"{metric_key_prefix}_{name}": value for name, value in result.scalars().items()
        }
        self.log(metrics)
        if diagnosis := diagnose(result):
            # No advice, which would be to train longer until training has ended.
            metrics[f"{metric_key_prefix}_verdict"] = f"{diagnosis.state}: {diagnosis.finding}"
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Not available: a text VAE makes vectors and texts, which `TextVAE` and `Translator` return.

        Raises:
            UserError: always.
        """
        raise UserError(
            "expected another method than predict, which text VAEs do not have: call evaluate for the bounds, "
            "TextVAE(model, tokenizer).encode for vectors, or Translator for translations"
        )

    def get_train_dataloader(self) -> DataLoader:
        """The parent's loader, or one with batches of ``tokens_per_batch`` tokens."""
        dataset: Any = self.train_dataset
        if self.arguments.tokens_per_batch is None:
            return super().get_train_dataloader()
        if not isinstance(dataset, datasets.Dataset):
            raise UserError("expected a stored corpus for tokens_per_batch, got a stream: leave it out")
        sampler = TokenBatchSampler(
            token_counts(dataset, self.fields.length_columns),
            self.arguments.tokens_per_batch,
            multiple=self.args.world_size * self.args.gradient_accumulation_steps,
            seed=self._data_seed,
            epoch=lambda: int(self.state.epoch or 0),
        )
        self._sentences_per_batch = len(dataset) / len(sampler)
        loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
            multiprocessing_context=self.args.dataloader_multiprocessing_context,
            in_order=self.args.dataloader_in_order,
        )
        return self.accelerator.prepare(loader)

    @property
    def _data_seed(self) -> int:
        """The seed for the order of the sentences."""
        return self.args.seed if self.args.data_seed is None else self.args.data_seed

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> torch.utils.data.Sampler | None:
        """Batches of similar length, or random ones if the model normalises batches, by the seed and the epoch."""
        dataset: Any = train_dataset if train_dataset is not None else self.train_dataset
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            return None
        step_size = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return LengthGroupedSampler(
            grouping_lengths(dataset, self.fields.length_columns, mixed=self.vae.normalizes_batches),
            step_size,
            seed=self._data_seed,
            epoch=lambda: int(self.state.epoch or 0),
        )


def history_of(trainer: TextVAETrainer, pretraining: bool = False) -> Training:
    """The facts about a training that the advice after it depends on.

    Args:
        trainer: after its training.
        pretraining: whether it started from the result of a first stage.
    """
    bounds = [logs["eval_neg_elbo"] for logs in trainer.state.log_history if "eval_neg_elbo" in logs]
    return Training(
        steps=trainer.state.global_step,
        few_steps=trainer.accelerator.unwrap_model(trainer.model).few_steps,
        warmup=trainer.args.get_warmup_steps(trainer.state.max_steps),
        target_rate=trainer.objective.target_rate,
        pretraining=pretraining,
        gained=1 - bounds[-1] / bounds[-2] if len(bounds) > 1 and bounds[-2] else None,
    )
