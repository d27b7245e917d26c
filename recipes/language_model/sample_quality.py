"""Measure the quality and diversity of a run's samples, from its own prior and from a fitted prior.

python recipes/language_model/sample_quality.py runs/demo --samples 10000

The script trains language models of the same size on equally many sentences: from the run's training data, from its
prior, and from the fitted prior. Forward perplexity is the perplexity of samples under the model of the data. Reverse
perplexity is the perplexity of held-out data under the model of the samples (`textvae.evaluation.sample_quality`). If
the script was stopped or killed, repeat it: it continues. Everything is written to RUN/sample_quality/, the numbers to
quality.json.
"""

import argparse
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import Dataset

from textvae.evaluation.bleu import distinct_n, self_bleu
from textvae.evaluation.sample_quality import perplexity
from textvae.interfaces.readable import AS_IT_IS
from textvae.interfaces.text_vae import TextVAE
from textvae.latent_space.fitted_priors import save_prior
from textvae.models.language import TextVAEModel
from textvae.objectives.elbo import ELBO
from textvae.support.files import check_folder, replacing
from textvae.support.program import program
from textvae.support.seeds import check_seed
from textvae.text.corpus import load_corpus
from textvae.training.recipe import Recipe, read_recipe
from textvae.training.run import run
from textvae.training.schema import EvaluationOptions, ModelOptions

COMPARED = 500
"""Number of samples for self-BLEU, whose cost grows with the square of this number."""

# Settings of the language models.
MODEL = {"latent_size": 0, "embedding_size": 128, "hidden_size": 256, "initial_range": None}
TRAINING = {"learning_rate": 4e-3, "lr_scheduler_type": "linear", "max_grad_norm": 5.0}


def main() -> None:
    """Draw samples, train language models, measure, print and write."""
    arguments = read_arguments()
    check_seed(arguments.seed, "--seed")
    recipe = read_recipe(arguments.run / "recipe.yaml")
    vae = TextVAE.from_pretrained(arguments.run)
    folder = arguments.run / "sample_quality" / f"{arguments.samples}-{arguments.seed}"
    check_folder(folder)
    sets, test = sentences(vae, recipe, arguments)
    reverse = {}
    for name, texts in sets.items():
        own = language_model(texts, test, folder / name, recipe, arguments)
        reverse[name] = run(own, fields=vae.fields, resume=True).ppl
    of_data = TextVAE.from_pretrained(folder / "data").model
    quality = {
        name: {
            "forward_ppl": reverse[name] if name == "data" else perplexity(of_data, vae.fields, texts),
            "reverse_ppl": reverse[name],
            "self_bleu": self_bleu(texts[:COMPARED]),
            "distinct_2": distinct_n(texts, 2),
        }
        for name, texts in sets.items()
    }
    with replacing(folder / "quality.json") as partial:
        partial.write_text(json.dumps(quality, indent=2) + "\n", encoding="utf-8")
    columns = list(quality["data"])
    print(f"{'':10}" + "".join(f"{column:>13}" for column in columns))
    for name, numbers in quality.items():
        print(f"{name:10}" + "".join(f"{numbers[column]:13.3f}" for column in columns))
    print(f"\nwritten: {folder}/quality.json")


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Measure the samples of a run.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "--samples", type=int, default=10_000, metavar="N", help="number of sentences in each set"
    )
    parser.add_argument(
        "--kind", choices=["mixture", "flow"], default="mixture", help="kind of the fitted prior"
    )
    parser.add_argument(
        "--greedy", action="store_true", help="take the most probable words instead of drawing them"
    )
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="epochs of the language models")
    parser.add_argument("--seed", type=int, default=0, help="seed for all draws")
    return parser.parse_args()


def sentences(
    vae: TextVAE, recipe: Recipe, arguments: argparse.Namespace
) -> tuple[dict[str, list[str]], list[str]]:
    """Equally many training sentences, samples from the prior and from the fitted prior; and the test sentences."""
    corpus = load_corpus(**recipe.corpus)
    shuffled = corpus["train"].shuffle(seed=arguments.seed)
    data = [row["text"] for row in islice(shuffled, arguments.samples)]
    fitted = vae.fit_prior(data, arguments.kind, seed=arguments.seed)
    save_prior(fitted, arguments.run, arguments.kind)
    options: dict[str, Any] = {"maximum_length": recipe.tokenizer.maximum_length or 100, **AS_IT_IS}
    options |= {} if arguments.greedy else {"temperature": 1.0}
    sets = {"data": data}
    for name, prior in (("prior", None), (arguments.kind, fitted)):
        sets[name] = vae.sample(len(data), prior=prior, seed=arguments.seed, **options)
    return sets, [row["text"] for row in corpus["test"]]


def language_model(
    texts: list[str], test: list[str], folder: Path, source: Recipe, arguments: argparse.Namespace
) -> Recipe:
    """The recipe of a language model trained on ``texts``, cut as in the run's recipe, and measured on ``test``."""
    return replace(
        source,
        corpus={"train": Dataset.from_dict({"text": texts}), "test": Dataset.from_dict({"text": test})},
        model=ModelOptions(TextVAEModel, MODEL),
        objective=ELBO(),
        training=TRAINING
        | {"output_dir": str(folder), "num_train_epochs": arguments.epochs, "seed": arguments.seed},
        evaluation=EvaluationOptions(samples=1),
        pretraining=None,
    )


if __name__ == "__main__":
    with program("run the same command again to continue"):
        main()
