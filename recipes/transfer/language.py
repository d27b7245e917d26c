"""Train `textvae train FILE` on any corpora, beside the language model of the same decoder, steps and rates.

python recipes/transfer/language.py captions.txt reviews.csv --minutes 3 -o results
python recipes/transfer/language.py ptb=ptb.train.txt=ptb.test.txt -o results      # NAME=TRAIN=TEST

Both models are scored on the held-out texts: -log p in nats a text, of which the VAE's importance-weighted bound is an
upper bound. The table is written to results/language.md, the numbers to results/language.json. If the script is called
again, it continues from these numbers.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from textvae.evaluation.diagnosis import diagnose
from textvae.support.files import check_folder, replacing
from textvae.support.program import program
from textvae.training.recipe import planned_recipe, read_recipe
from textvae.training.run import run

OF_THE_LATENT = (
    "objective.target_rate=null",
    "objective.bag_of_words=0",
    "model.latent_size=0",
    "model.bag_of_words=null",
)
"""Overrides that make the language model of a recipe."""


@dataclass(frozen=True)
class Row:
    """A corpus with a seed.

    Attributes:
        corpus: its name.
        seed: of weights, batches and draws.
        texts: held-out texts.
        vocabulary: number of tokens.
        steps: of either model.
        seconds: for the VAE, from the command to its evaluation.
        vae: nats a text of the VAE, by the importance-weighted bound.
        language_model: nats a text of the language model.
        kl: nats a text.
        rate: the KL that was asked for.
        verdict: "healthy", "weak" or "collapsed".
    """

    corpus: str
    seed: int
    texts: int
    vocabulary: int
    steps: int
    seconds: float
    vae: float
    language_model: float
    kl: float
    rate: float
    verdict: str


def main() -> None:
    """Measure each corpus with each seed that the folder has no results for, and write the table each time."""
    parser = argparse.ArgumentParser(description="Train the default on corpora, beside its language model.")
    parser.add_argument("corpora", nargs="+", help="files, folders or names on the Hub; or NAME=TRAIN=TEST")
    parser.add_argument("--minutes", type=float, default=3.0, help="for the VAE, as in textvae train")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="the seeds 0 to N - 1")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("transfer"), help="the folder of results and runs"
    )
    arguments = parser.parse_args()
    check_folder(arguments.output)
    path = arguments.output / "language.json"
    rows = [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []
    for corpus in arguments.corpora:
        for seed in range(arguments.seeds):
            if (_name(corpus), seed) not in {(row.corpus, row.seed) for row in rows}:
                rows.append(measured(corpus, seed, arguments.minutes, arguments.output))
                _write(rows, arguments.output)
    print(markdown(rows))


def measured(corpus: str, seed: int, minutes: float, output: Path) -> Row:
    """Train both models on a corpus with a seed."""
    begin = time.monotonic()
    train, test = corpus.split("=")[1:] if "=" in corpus else (corpus, "")
    folder = output / "runs" / f"{_name(corpus)}-{seed}"
    overrides = [f"training.output_dir={folder}", f"training.seed={seed}"]
    overrides += [f"corpus.test={test}"] if test else []
    recipe = planned_recipe(train, overrides, minutes=minutes, since=begin)
    vae = run(recipe, overwrite=True, quiet=True)
    seconds = time.monotonic() - begin
    without = [f"training.output_dir={folder}-lm", *OF_THE_LATENT]
    language_model = run(read_recipe(folder / "recipe.yaml", without), overwrite=True, quiet=True)
    settings: dict[str, Any] = {
        "vocabulary": json.loads((folder / "config.json").read_text())["vocab_size"],
        "steps": recipe.training["max_steps"],
        "rate": recipe.source["objective"]["target_rate"],
    }
    diagnosis = diagnose(vae)
    return Row(
        _name(corpus),
        seed,
        texts=vae.sentences,
        seconds=seconds,
        vae=vae.iw_nll,
        language_model=language_model.iw_nll,
        kl=vae.kl,
        verdict=diagnosis.state if diagnosis else "",
        **settings,
    )


def markdown(rows: list[Row]) -> str:
    """A table with a line for each corpus and seed."""
    names = "corpus, seed, held-out texts, vocabulary, steps, seconds, nats of VAE, of language model, KL / asked, z is"
    head = f"| {' | '.join(names.split(', '))} |"
    lines = [head, "| --- |" + " --: |" * 8 + " --- |"]
    for row in rows:
        cells = [row.corpus, str(row.seed), f"{row.texts:,}", f"{row.vocabulary:,}", f"{row.steps:,}"]
        cells += [f"{row.seconds:.0f}", f"{row.vae:.2f}", f"{row.language_model:.2f}"]
        lines.append(f"| {' | '.join(cells)} | {row.kl:.1f} / {row.rate:g} | {row.verdict} |")
    return "\n".join(lines)


def _name(corpus: str) -> str:
    """The name of a corpus that was given as a path or as NAME=TRAIN=TEST."""
    return corpus.split("=")[0] if "=" in corpus else Path(corpus).stem


def _write(rows: list[Row], output: Path) -> None:
    """Write the numbers and the table."""
    numbers = json.dumps([asdict(row) for row in rows], indent=1)
    for name, text in {"language.json": numbers, "language.md": markdown(rows)}.items():
        with replacing(output / name) as partial:
            partial.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    with program("run the same command again, which continues after what is measured"):
        main()
