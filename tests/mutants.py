"""Mutation tests of the mathematics: each mutant is one wrong formula, and some quick test must fail on it.

    python tests/mutants.py [WORD ...]

runs the mutants whose file or snippet contains one of the words; without words, all of them. The package is copied to
a temporary folder, one mutant at a time is written into the copy, and its tests run there. Exit code 1: a mutant
survived. A mutant that changes no result is not listed: no test can kill it.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

# Before any library reads it, as in conftest.py.
os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120
"""A test that takes longer has failed."""


class Mutant(NamedTuple):
    """A wrong formula.

    Attributes:
        file: path in the package.
        original: snippet that occurs exactly once in the file.
        mutated: what replaces it.
        tests: paths in the folder of tests, one of which must fail.
    """

    file: str
    original: str
    mutated: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        original, mutated = (" ".join(snippet.split()) for snippet in (self.original, self.mutated))
        return f"{self.file}: {original}  ->  {mutated}"

    def applied(self) -> str:
        """The mutated text of the file.

        Raises:
            ValueError: if the snippet does not occur exactly once.
        """
        text = (ROOT / "textvae" / self.file).read_text(encoding="utf-8")
        if (found := text.count(self.original)) != 1:
            raise ValueError(f"expected the snippet once, found it {found} times: {self}")
        return text.replace(self.original, self.mutated)


TABLE: dict[tuple[str, ...], list[tuple[str, str]]] = {
    # ---- objectives
    ("objectives/elbo.py", "objectives/test_elbo.py"): [
        ("-output.expected(output.score)", "-output.score.mean(0)"),
        ("loss = reconstruction + kl_weight * self._charged", "loss = reconstruction + self._charged"),
        ("loss = loss + of_class", "loss = loss + kl_weight * of_class"),
        ("surprise.sum() / max(1, len(surprise))", "surprise.sum() / len(loss)"),
        ("mean + self.classification * surprise", "mean + surprise"),
        ("each = each[:, :-1]", "each = each[:, :]"),
        ("share = self.free_bits / each.shape[-1]", "share = self.free_bits"),
        ("each.mean(0, keepdim=True)", "each.mean(1, keepdim=True)"),
        ("each.clamp_min(share).sum(-1)", "(each - share).clamp_min(0).sum(-1)"),
        ("return kl if of_class is None else kl - of_class", "return kl"),
        ("self.auxiliary_weight(name) * terms[name]", "terms[name]"),
        ("terms[name] = -output.expected(scores)", "terms[name] = -scores.mean(0)"),
    ],
    ("objectives/terms.py", "objectives/test_elbo.py"): [
        ('return kl - self.per_sentence["class_kl"] if', "return kl if"),
    ],
    ("objectives/rate.py", "objectives/test_rate.py"): [
        ("(kl / target - 1)", "(kl - target)"),
        ("(kl / target - 1).clamp(-1, 1)", "(kl / target - 1)"),
        ("(SPEED * error).exp()", "(-SPEED * error).exp()"),
        (".clamp(LOWEST, HIGHEST)", ".clamp(LOWEST)"),
        (".clamp(LOWEST, HIGHEST)", ".clamp(max=HIGHEST)"),
    ],
    ("objectives/schedules.py", "objectives/test_schedules.py"): [
        ("step >= self.steps", "step > self.steps"),
        ("self._progress(step / self.steps)", "self._progress((step + 1) / self.steps)"),
        ("min(1.0, 2 * (u * self.cycles % 1))", "min(1.0, u * self.cycles % 1)"),
        ("edge = 6.0", "edge = 5.0"),
        ("math.tanh(3 * u) / math.tanh(3)", "math.tanh(3 * u)"),
        ("(self.end - self.start) * self._progress", "self.end * self._progress"),
    ],
    # ---- inference
    ("inference/bounds.py", "evaluation/test_likelihood.py"): [
        ("scores + prior.log_prob(z) - posterior.log_prob(z)", "scores + prior.log_prob(z)"),
        ("scores + prior.log_prob(z) - posterior.log_prob(z)", "scores - posterior.log_prob(z)"),
        ("neg_elbo=kl - total / samples", "neg_elbo=-total / samples"),
        ("neg_elbo=kl - total / samples", "neg_elbo=kl - total / len(log_weights)"),
        ("iw_nll=math.log(samples) - torch", "iw_nll=-torch"),
        ("share = len(z) / (start + len(z))", "share = len(z) / samples"),
        ("min(at_once, samples - start)", "at_once"),
        ("reported_kl(posterior, prior, z) - kl)", "kl_per_dimension(posterior, prior, z).sum(-1) - kl)"),
    ],
    ("inference/proposals.py", "inference/test_filling.py"): [
        ("< PRIOR_SHARE", "> PRIOR_SHARE"),
        ("power / posterior.variance", "power / posterior.stddev"),
        ("math.log(PRIOR_SHARE) + self.log_prior(z)", "self.log_prior(z)"),
        ("math.log1p(-PRIOR_SHARE) + self.posteriors.log_prob(z)", "self.posteriors.log_prob(z)"),
        ("torch.where(from_prior, self.prior.sample((count,))[:, 0], z)", "z"),
        ("(own * posterior.mean + rest * prior.mean) / precision", "posterior.mean"),
        ("precision.rsqrt()", "precision.reciprocal()"),
    ],
    ("inference/particles.py", "inference/test_filling.py"): [
        ("= proposal.log_prior(self.z) - proposal.log_prob(self.z)", "= proposal.log_prior(self.z)"),
        ("self.log_weights[rows] += options.logsumexp(1)", "self.log_weights[rows] += 0"),
        ("torch.zeros_like(shares).index_add_(0, self.families, shares).square()", "shares.square()"),
        ("self.families = self.families[chosen]", "self.families = chosen"),
        ("(self.log_weights.logsumexp(0) - math.log(count))", "self.log_weights.logsumexp(0)"),
        ("self.log_ratio[chosen]", "self.log_ratio"),
        (".logsumexp(1).masked_fill(~whole, -math.inf)", ".logsumexp(1)"),
        ("torch.arange(count) + torch.rand(())", "torch.arange(count) + torch.rand(count)"),
        ("ends = self._shares().cumsum(0)", "ends = self._shares().sort().values.cumsum(0)"),
        (
            "self.log_weights += self.log_next[:, following]",
            "self.log_weights -= self.log_next[:, following]",
        ),
        ("total * torch.rand_like(total)", "total * torch.rand_like(total).square()"),
    ],
    ("inference/filling.py", "inference/test_filling.py"): [
        (
            "    found.weigh(vocabulary.first(terms[0]))\n    found.log_weights += found.log_ratio / len(terms)",
            "    found.weigh(vocabulary.first(terms[0]))",
        ),
        ("if size >= ENOUGH", "if size <= ENOUGH"),
        ("0.5 / math.sqrt(size)", "0.5 / size"),
    ],
    ("models/refinement.py", "models/test_refinement.py"): [
        ("torch.stack([half, -half])", "torch.stack([half, half])"),
        ("return kl_weight * kl_divergence(q, reading.prior)", "return kl_divergence(q, reading.prior)"),
        ("start = mean, 2 * scale.log()", "start = mean, scale.log()"),
        ("reading.score(mean + q.stddev * draws)", "reading.score(mean + q.variance * draws)"),
        (
            "bounds)\n        point = point - options.learning_rate",
            "bounds)\n        point = point + options.learning_rate",
        ),
        ("longest / gradient.norm(dim=-1, keepdim=True)", "longest / gradient.norm()"),
        ("longest / length * across, adjoint", "longest / length * adjoint, adjoint"),
        ("length.squeeze(-1) / (2 * eps)", "length.squeeze(-1) / eps"),
        ("else adjoint - rate * d_point", "else adjoint"),
        ("_sum(total, part, -rate)", "_sum(total, part, rate)"),
        ("lower = bounds < lowest", "lower = bounds > lowest"),
        (
            "return replace(reading, posterior=diagonal_gaussian(mean, (0.5 * log_variance).exp()))",
            "return replace(reading, posterior=diagonal_gaussian(mean, log_variance.exp()))",
        ),
    ],
    # ---- modules
    ("modules/distributions.py", "modules/test_latents.py", "modules/test_conditional_latents.py"): [
        (
            "return -_shares(posterior, prior)[0].logsumexp(-1)",
            "return -_shares(posterior, prior)[0].amax(-1)",
        ),
        ("return prior.mixture_distribution.logits - each.sum(-1)", "return -each.sum(-1)"),
        ("return mean + rest / mean.shape[-1]", "return mean"),
        ("each = each.sum(-2) if len", "each = each.mean(-2) if len"),
        ("return each.mean(0) if each.ndim > 2", "return each[0] if each.ndim > 2"),
        ("return kl.mean(0) if kl.ndim > 1", "return kl[0] if kl.ndim > 1"),
        ("return distribution.mean + distribution.stddev * noise(", "return distribution.mean + noise("),
        ("parts.stddev[rows, choice]", "parts.stddev[rows, 0 * choice]"),
        (
            "distribution.rsample((samples,)) if distribution",
            "distribution.sample((samples,)) if distribution",
        ),
    ],
    ("modules/distributions.py", "evaluation/test_likelihood.py", "test_extension.py"): [
        ("        kl = posterior.log_prob(z) - prior.log_prob(z)\n", "        kl = posterior.log_prob(z)\n"),
        ("return (posterior.log_prob(z) - prior.log_prob(z)).mean(0)", "return -prior.log_prob(z).mean(0)"),
    ],
    ("modules/posteriors.py", "modules/test_latents.py"): [
        ("(0.5 * log_variance.to(precise)).exp()", "log_variance.to(precise).exp()"),
        ("expected.lerp(mean.mean(0), norm.momentum)", "expected.lerp(mean.mean(0), 1 - norm.momentum)"),
        ("mean.var(0)", "mean.var(0, correction=0)"),
        ("self.deviation * normalized + self.bias", "normalized + self.bias"),
        ("training=True, eps=norm.eps", "training=True, eps=1e-5"),
        ("if not self.training or len(mean) == 1", "if not self.training"),
    ],
    ("modules/posteriors.py", "modules/test_classes.py"): [
        (
            "(0.5 * self.log_variance(hidden).to(precise)).exp()",
            "self.log_variance(hidden).to(precise).exp()",
        ),
        ("functional.log_softmax(scores.to(precise), -1)", "functional.logsigmoid(scores.to(precise))"),
        (
            "[:, None] + self.embedding.weight)",
            "[:, None] + self.embedding.weight[:1].expand_as(self.embedding.weight))",
        ),
    ],
    ("modules/priors.py", "modules/test_latents.py", "modules/test_classes.py"): [
        ("-math.log(self.classes))", "0.0)"),
        ("(0.5 * self.log_variances.to(like.dtype)).exp()", "self.log_variances.to(like.dtype).exp()"),
        ("joint = prior.mixture_distribution.logits + prior", "joint = prior"),
        ("self.log_variances.copy_(variances.log())", "self.log_variances.copy_(variances.sqrt().log())"),
        ("self.logits.copy_(weights.log())", "self.logits.copy_(weights)"),
    ],
    ("modules/classes.py", "modules/test_classes.py", "objectives/test_elbo.py"): [
        ("return entropy.masked_fill(self.known, 0)", "return entropy"),
        (
            "self.probabilities.T.expand(samples, -1, -1) / samples",
            "self.probabilities.T.expand(samples, -1, -1)",
        ),
        ("prior.log_probabilities).sum(-1) - posterior.entropy()", "prior.log_probabilities).sum(-1)"),
        ("of_z = (posterior.probabilities[:, :, None] * each).sum(1)", "of_z = each.mean(1)"),
        ("self.given.variance + self.given.mean.square()", "self.given.variance"),
        ("class_part = class_part.masked_fill(self.known, 0)", "class_part = class_part.clone()"),
        ("y = torch.where(self.known[:, None], self.probabilities, y)", "y = y.clone()"),
        ("temperature, hard=True", "temperature, hard=False"),
        ("return -posterior.log_probabilities[known]", "return posterior.log_probabilities[known]"),
        ("given.mean + given.stddev * noise(", "given.mean + given.variance * noise("),
    ],
    ("modules/classes.py", "models/test_language.py"): [
        ("return ~posterior.known | (y == posterior.labels)", "return torch.ones_like(y, dtype=torch.bool)"),
        (
            "return ~posterior.known | (y == posterior.labels)",
            "return ~posterior.known | (y != posterior.labels)",
        ),
    ],
    ("modules/encoders.py", "modules/test_encoders.py", "models/test_invariances.py"): [
        ("/ mask.sum(1, keepdim=True)", "/ mask.shape[1]"),
        ("states.masked_fill(~mask[..., None], 0).sum(1)", "states.sum(1)"),
        ("device=ids.device), lengths - 1]", "device=ids.device), -1]"),
        ("[last[-2], last[-1]]", "[last[-2], last[-2]]"),
        ("torch.relu(convolution(states))).masked_fill(pads, 0)", "torch.relu(convolution(states)))"),
        ("states.masked_fill(pads, -torch.inf).max(2)", "states.max(2)"),
    ],
    ("modules/decoders.py", "modules/test_decoders.py"): [
        ("dropped & mask & (ids != keep_id)", "dropped & mask"),
        ("dropped & mask & (ids != keep_id)", "dropped & (ids != keep_id)"),
        (
            "torch.rand(ids.shape, device=ids.device) < rate",
            "torch.rand(ids.shape, device=ids.device) > rate",
        ),
        ("return cell.tanh(), cell", "return cell, cell"),
        ("cell = self.initial_cell(vectors)", "cell = 0 * self.initial_cell(vectors)"),
        ("[past.to(shrunk.dtype), shrunk], dim=1", "[shrunk, past.to(shrunk.dtype)], dim=1"),
        ("seen[:, -self.reach :]", "seen[:, : self.reach]"),
        ("1 + (CausalBlock.width - 1) * sum(self.dilations)", "CausalBlock.width * sum(self.dilations)"),
        ('name.startswith("weight_hh")', 'name.startswith("weight")'),
        ("super().forward(input.transpose(1, 2)).transpose(1, 2)", "super().forward(input)"),
        (
            "states + self.linear(z.to(self.linear.weight.dtype))",
            "self.linear(z.to(self.linear.weight.dtype))",
        ),
        ("z.flatten(0, 1).to(embedded.dtype)", "z.transpose(0, 1).flatten(0, 1).to(embedded.dtype)"),
        (
            "states + self.dropout(self.expand(torch.relu(convolved)))",
            "self.dropout(self.expand(torch.relu(convolved)))",
        ),
    ],
    ("modules/attention.py", "modules/test_attention.py"): [
        (
            "scores(rows, source.keys).masked_fill(~source.mask[:, None], -math.inf)",
            "scores(rows, source.keys)",
        ),
        ("weights = scores.softmax(-1)", "weights = scores.softmax(1)"),
        ("self.vector(torch.tanh(", "self.vector(torch.sigmoid("),
        ("return mean_of_real(self.states, self.mask)", "return self.states.mean(1)"),
    ],
    ("modules/source_encoders.py", "modules/test_source_encoders.py"): [
        ("src_key_padding_mask=~mask", "src_key_padding_mask=None"),
        ("self.blocks(states + _sinusoids(states)", "self.blocks(states"),
        ("mask.sum(1).cpu()", "torch.full_like(mask.sum(1), mask.shape[1]).cpu()"),
        ("[angles.sin(), angles.cos()]", "[angles.sin(), angles.sin()]"),
    ],
    ("modules/attentive_decoder.py", "modules/test_attentive_decoder.py"): [
        ("return cell.tanh(), cell", "return cell, cell"),
        ("self.dropout(total.tanh())", "self.dropout(total)"),
        ("total = total + layer(", "total = layer("),
    ],
    ("modules/conditional_latents.py", "modules/test_conditional_latents.py", "models/test_seq2seq.py"): [
        ("z.append(gaussian.loc + gaussian.scale * e_t)", "z.append(gaussian.loc + e_t)"),
        ("[start[..., None, :], z[..., :-1, :]], -2", "[start[..., None, :], z[..., 1:, :]], -2"),
        ("return _joined(self.mask, gaussian, along(self.elsewhere, z))", "return gaussian"),
        ("mean_of_real(target, mask)", "target.mean(1)"),
        ("mean = mean if self.source_prior else torch.zeros_like(mean)", "mean = mean + 0"),
        ("torch.where(mask[..., None], one.scale, other.scale)", "one.scale"),
    ],
    ("modules/output_layer.py", "modules/test_output_layer.py"): [
        ("(chosen - total.log()).squeeze(-1)", "chosen.squeeze(-1)"),
        ("logits -= logits.amax(-1, keepdim=True)", "logits -= 0"),
        ("mul_(-scale / total)", "mul_(-scale)"),
        ("if bool((gradient == gradient[:1]).all())", "if bool((gradient == gradient).all())"),
        (".to(precise).add_(bias)", ".to(precise)"),
        ("(1 + repeated.log()) / repeated * rarity", "(1 + repeated.log()) * rarity"),
        ("(1 + self.documents) / (1 + self.frequencies)", "self.documents / (1 + self.frequencies)"),
        ("return weights * (mask.sum() / weights.sum())", "return weights"),
        ("self.documents += len(targets)", "self.documents += 1"),
        ("self.frequencies += (counts > 0).sum(0)", "self.frequencies += counts.sum(0).long()"),
        ("if self.tf_idf else mask)).sum(-1)", "if self.tf_idf else 1)).sum(-1)"),
    ],
    ("modules/documents.py", "models/test_document_model.py"): [
        ("weighted.data = 1 + np.log(weighted.data)", "weighted.data = 1 + weighted.data"),
        ("inverse = 1 + np.log((1 + n) / (1 + documents))", "inverse = np.log((1 + n) / (1 + documents))"),
        ("scale = self.length * n / max", "scale = self.length / max"),
        ("(1 + bags.weights.to(self.inverse.dtype).log())", "bags.weights.to(self.inverse.dtype)"),
        ("weights=self.weights**2).totals.sqrt()", "weights=self.weights**2).totals"),
        ("return chosen - bags.totals * normalizers", "return chosen - normalizers"),
        ("rows.T * width * np.sqrt(words) / 2", "rows.T * width * np.sqrt(words)"),
        ("self.bias.copy_(-found.centre)", "self.bias.copy_(found.centre)"),
        ("(totals + 1 / len(totals)) / (totals.sum() + 1)", "totals / totals.sum()"),
    ],
    # ---- models
    ("models/documents.py", "models/test_document_model.py"): [
        ("scale.masked_fill(says_nothing, 1.0)", "scale"),
        ("scale = (0.5 * self.log_variance).exp()", "scale = self.log_variance.exp()"),
    ],
    ("models/language.py", "models/test_language.py"): [
        (
            "self.encode(targets, mask, labels if self.training else None)",
            "self.encode(targets, mask, labels)",
        ),
        ("index_put((draws, rows), scores[0])", "index_put((draws, rows.flip(0)), scores[0])"),
        ("self._dropped(inputs, mask), z)", "inputs, z)"),
    ],
    ("models/base.py", "models/test_document_model.py"): [
        ("if id(parameter) not in inference", "if id(parameter) in inference"),
    ],
    ("models/base.py", "models/test_language.py"): [
        (
            "refined_reading(self, reading, refinement, kl_weight)",
            "refined_reading(self, reading, refinement)",
        ),
        (
            "auxiliary = reading.auxiliary.items() if self.training else ()",
            "auxiliary = reading.auxiliary.items()",
        ),
    ],
    # ---- evaluation
    ("evaluation/meters/latent_use.py", "evaluation/test_latent_use.py", "evaluation/test_evaluate.py"): [
        ("between = shift.square() * self.count * len(mean) / total", "between = shift.square() / total"),
        ("self.mean += shift * len(mean) / total", "self.mean += shift / total"),
        ("max(1, self.count - 1) > ACTIVE_VARIANCE", "max(1, self.count - 1) > ACTIVE_VARIANCE**0.5"),
        ("kl = self.kl / self.sentences", "kl = self.kl"),
        ("self.kl_per_dimension + measured.kl_per_dimension", "measured.kl_per_dimension"),
    ],
    ("evaluation/meters/latent_use.py", "evaluation/test_conditional_evaluation.py"): [
        ("found.reading.posterior.mean - found.prior_mean", "found.reading.posterior.mean"),
        ("mean[batch.mask] if mean.ndim > 2 else mean", "mean.flatten(0, -2)"),
    ],
    (
        "evaluation/meters/mutual_information.py",
        "evaluation/test_latent_use.py",
        "evaluation/test_joint_quantities.py",
    ): [
        ("return total / len(z) + math.log(len(z))", "return total / len(z)"),
        (".sum(1) - scale.log().sum(1)", ".sum(1)"),
        (" - 0.5 * (z.square() @ precision.T)", ""),
        ("z = mean[rows, y] + scale[rows, y] * noise", "z = mean[rows, y]"),
        ("own = Gaussians(log_weights[:, number]", "own = Gaussians(0 * log_weights[:, number]"),
        ("constant = log_weights - 0.5 * (mean.square()", "constant = log_weights - (mean.square()"),
    ],
    ("evaluation/meters/mutual_information.py", "evaluation/test_evaluate.py"): [
        ("keys.argsort()[:MOST_POSTERIORS].sort().values", "torch.arange(len(keys))[:MOST_POSTERIORS]"),
    ],
    ("evaluation/meters/perplexity.py", "evaluation/test_evaluate.py"): [
        (
            "found.iw_nll.cpu().double().sum()), batch.tokens",
            "found.iw_nll.cpu().double().sum()), batch.size",
        ),
        ("found.iw_nll.cpu()", "found.neg_elbo.cpu()"),
        ("exp(total / tokens)", "exp(total / tokens) - 1"),
    ],
    ("evaluation/meters/likelihood.py", "evaluation/test_evaluate.py"): [
        ("for bound in (found.neg_elbo, found.iw_nll)", "for bound in (found.iw_nll, found.neg_elbo)"),
        ("(neg_elbo / sentences,", "(neg_elbo,"),
    ],
    ("evaluation/meters/entropy.py", "evaluation/test_evaluate.py", "evaluation/test_report.py"): [
        ("total / sentences / self.entropy - 1", "total / sentences - self.entropy"),
        ('-math.fsum(rows["log_prob"]) / len(rows)', '-math.fsum(rows["log_prob"])'),
        ("setting.has_condition or setting.cut or", "setting.has_condition or"),
    ],
    ("evaluation/meters/characters.py", "evaluation/test_evaluate.py", "evaluation/test_report.py"): [
        ("len(written) + 1", "len(written)"),
        ("/ math.log(2) / self.characters", "/ self.characters"),
        ("text is None or setting.cut or", "text is None or"),
    ],
    ("evaluation/meters/interventions.py", "evaluation/test_interventions.py"): [
        ("own.roll(1, dims=0)", "own"),
        ("(found.neg_elbo - found.kl)", "found.neg_elbo"),
        ("for q in (reading.posterior, reading.prior)", "for q in (reading.posterior, reading.posterior)"),
    ],
    ("evaluation/meters/accuracy.py", "evaluation/test_joint_quantities.py", "evaluation/test_evaluate.py"): [
        ("int(known.sum())", "len(known)"),
        (".log_probabilities.argmax(-1)", ".log_probabilities.argmin(-1)"),
    ],
    ("evaluation/meters/size.py", "evaluation/test_diagnosis.py"): [
        ("(unknown / tokens,", "(unknown / sentences,"),
    ],
    ("evaluation/meters/reconstruction.py", "evaluation/test_reconstruction.py"): [
        (
            "self._reconstruct(model, batch, posterior.mode)",
            "self._reconstruct(model, batch, 0 * posterior.mode)",
        ),
        ('"right": int(right.sum())', '"right": int((~right).sum())'),
    ],
    ("evaluation/diagnosis.py", "evaluation/test_diagnosis.py"): [
        ("e.reconstruction_shuffled_z - e.reconstruction", "e.reconstruction_prior_z - e.reconstruction"),
        ("said = [e.kl, heard]", "said = [e.kl]"),
        ("2 * information < min", "information < min"),
        ("said.append(information)", "said.append(2 * information)"),
    ],
    ("evaluation/bleu.py", "evaluation/test_sample_quality.py", "evaluation/test_translation_scores.py"): [
        ("[*samples[:place], *samples[place + 1 :]]", "list(samples)"),
        ("len(set(found)) / len(found)", "len(set(found)) / len(samples)"),
    ],
    # ---- training
    ("training/multiplier.py", "training/test_multiplier.py"): [
        ("kl.new_tensor(float(len(kl)))", "kl.new_tensor(1.0)"),
        ("self._seen is None else self._seen + pair", "self._seen is None else pair"),
        ("ascended(value, total / count, self.target)", "ascended(value, total, self.target)"),
    ],
    ("training/plateau.py", "training/test_plateau.py"): [
        ("self.stale < self.patience", "self.stale <= self.patience"),
        ("[rate * self.factor for rate", "[rate for rate"),
        ("if value < self.best", "if value > self.best"),
        ("(state.epoch or 0) < self.start_epoch", "(state.epoch or 0) > self.start_epoch"),
        ("self.best, self.stale = value, 0", "self.best = value"),
        ("if self.decayed == self.decays", "if self.decayed > self.decays"),
    ],
    ("training/aggressive.py", "training/test_aggressive.py"): [
        ("if mean > before", "if mean < before"),
        ("mean = float(total) / tokens", "mean = float(total)"),
        ("forget_gradients(model.generative_parameters())", "forget_gradients(model.inference_parameters())"),
        ("if information < self.information", "if information > self.information"),
        ("before, total, tokens = mean, 0.0, 0.0", "before = mean"),
    ],
    ("training/trainer.py", "training/test_trainer.py"): [
        ("share = Batch(inputs).size / self._sentences_per_batch", "share = 1.0"),
        ("self.objective.kl_weight(self.state.global_step)", "self.objective.kl_weight(0)"),
        ("logs[name] = total / count", "logs[name] = total"),
        ("samples=self.objective.samples", "samples=1"),
        ("* self.args.gradient_accumulation_steps * self.args.world_size", "* self.args.world_size"),
        ("gained=1 - bounds[-1] / bounds[-2]", "gained=1 - bounds[-2] / bounds[-1]"),
    ],
    ("training/trainer.py", "training/test_aggressive.py"): [
        ("batch.tokens / batch.size", "batch.tokens"),
    ],
    ("training/trainer.py", "training/test_multiplier.py"): [
        ("multiplier.observe(terms.rate)", 'multiplier.observe(terms.per_sentence["kl"])'),
    ],
    # ---- text
    ("text/fields.py", "text/test_fields_of_text.py", "text/test_batches.py"): [
        ("[special.bos_token_id, *ids]", "[special.eos_token_id, *ids]"),
        ("[*ids, special.eos_token_id]", "[*ids, special.bos_token_id]"),
        ("[len(sentence) + 1 for sentence in ids]", "[len(sentence) for sentence in ids]"),
        ("self.maximum_length - 1", "self.maximum_length"),
        ('"lengths": mask.sum(1)', '"lengths": mask.sum(1) - 1'),
        ('[*example["source_ids"], end]', '[end, *example["source_ids"]]'),
    ],
    ("text/batches.py", "text/test_batches.py"): [
        ("< lengths[:, None]", "<= lengths[:, None]"),
        ('self["lengths"].sum()', 'self["lengths"].max()'),
    ],
    ("text/counts.py", "text/test_counts.py"): [
        ('"lengths": counts.sum(1).long()', '"lengths": mask.sum(1)'),
    ],
    ("text/vocabulary.py", "text/test_counts.py"): [
        (
            "-self.logarithms.get(word, 0.0) / occurrences) / self.total",
            "-self.logarithms.get(word, 0.0)) / self.total",
        ),
        ("found[place] += 1", "found[place] = 1"),
        ("self.documents.update(counts.keys())", "self.documents.update(counts)"),
        ("elif unit not in self.stop_words", "elif unit"),
    ],
    ("text/samplers.py", "text/test_samplers.py"): [
        (
            "torch.arange(1, len(fitting) + 1) * fitting.cummax(0).values",
            "torch.arange(1, len(fitting) + 1) * fitting",
        ),
        ("key * (int(column.max()) + 1) + column", "key + column"),
        ("while len(sizes) % multiple", "while len(sizes) % 1"),
    ],
    ("text/chunks.py", "text/test_chunks.py"): [
        ("max(1, maximum_length - 1)", "max(1, maximum_length)"),
        ("(gaps[place], place)", "(place, gaps[place])"),
    ],
    # ---- latent space
    ("latent_space/paths.py", "latent_space/test_paths.py"): [
        ("np.linspace(length_a, length_b, steps)", "np.linspace(length_a, length_a, steps)"),
        ("np.arctan2(sine, cosine)", "np.arctan(sine)"),
        ("first - second + third", "first + second - third"),
    ],
    ("latent_space/fitted_priors.py", "latent_space/test_fitted_priors.py"): [
        ("draws = means + deviations *", "draws = means + 0 * deviations *"),
        ("factors = np.linalg.cholesky(fitted.covariances_)", "factors = fitted.covariances_"),
        ("if density > best", "if density < best"),
    ],
    ("latent_space/semi_supervised.py", "latent_space/test_semi_supervised.py"): [
        ("weights=weights,", "weights=None,"),
        (
            "self.mean_) / self.scale_\n        with torch.no_grad",
            "self.mean_) * self.scale_\n        with torch.no_grad",
        ),
        ("(0.5 * log_variance.clamp(-8, 8)).exp()", "log_variance.clamp(-8, 8).exp()"),
    ],
}
"""The mutants of each file of the package and the tests that should kill them: original and mutated snippet."""

MUTANTS = [
    Mutant(file, original, mutated, tuple(tests))
    for (file, *tests), pairs in TABLE.items()
    for original, mutated in pairs
]


def copied(folder: Path) -> None:
    """Copy the package and its tests; what else the tests read is linked."""
    for name in ("textvae", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and not (folder / path.name).exists():
            (folder / path.name).symlink_to(path)


def import_libraries() -> None:
    """Import what takes seconds, once for all mutants, but nothing of the package."""
    import datasets
    import matplotlib.figure
    import sacrebleu
    import sklearn.mixture
    import torch
    import transformers

    torch.set_num_threads(1)
    used = (datasets, matplotlib, sacrebleu, sklearn, torch, transformers.Trainer)
    assert all(used)
    assert "textvae" not in sys.modules


def tested(folder: Path, tests: Sequence[str]) -> int:
    """The exit code of pytest on these tests of the copy, in a child of this process; the output is in log.txt."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = pytest.ExitCode.INTERNAL_ERROR
    try:
        code = pytest_in(folder, tests)
    except BaseException:
        traceback.print_exc()
    finally:  # the child must not go on as its parent
        os._exit(code)


def pytest_in(folder: Path, tests: Sequence[str]) -> int:
    """The exit code of pytest on these tests of the copy; the output of this process goes to log.txt from here on."""
    os.chdir(folder)
    log = os.open("log.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(log, stream)
    # Cached bytecode of one mutant must not run in place of the next one.
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.path[:] = [str(folder), *(path for path in sys.path if Path(path or ".").resolve() != ROOT / "tests")]
    options = ["-x", "-q", "-n", "0", "-m", "not slow", "-p", "no:cacheprovider", f"--timeout={SECONDS}"]
    # Libraries have imported some plugins, which need no rewriting.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main([*options, *(f"tests/{test}" for test in tests)])
    sys.stdout.flush()
    return code


def survives(mutant: Mutant, folder: Path) -> bool:
    """Whether all tests of the mutant pass."""
    place = folder / "textvae" / mutant.file
    correct = place.read_text(encoding="utf-8")
    place.write_text(mutant.applied(), encoding="utf-8")
    try:
        code = tested(folder, mutant.tests)
    finally:
        place.write_text(correct, encoding="utf-8")
    # A test failed (1), or the mutant could not even be imported (2).
    if code not in (0, 1, 2):
        raise SystemExit(f"pytest ended with {code} on {mutant}:\n{(folder / 'log.txt').read_text()}")
    return code == 0


def main(words: Sequence[str]) -> int:
    """Run the mutants that hold one of the words, and say which survive; returns the exit code."""
    chosen = [mutant for mutant in MUTANTS if not words or any(word in str(mutant) for word in words)]
    survivors = []
    import_libraries()
    with TemporaryDirectory() as place:
        folder = Path(place)
        copied(folder)
        if tested(folder, sorted({test for mutant in chosen for test in mutant.tests})) != 0:
            raise SystemExit(f"expected tests that pass:\n{(folder / 'log.txt').read_text()}")
        for number, mutant in enumerate(chosen, 1):
            start = time.monotonic()
            if survived := survives(mutant, folder):
                survivors.append(mutant)
            verdict = "SURVIVED" if survived else "killed"
            print(f"{number}/{len(chosen)} {verdict} {time.monotonic() - start:.1f} s  {mutant}", flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed", *survivors, sep="\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
