"""Print interpolations between random pairs of test sentences, in Markdown, and the BLEU of their reconstructions.

python recipes/language_model/interpolations.py runs/captions --pairs 10
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from sacrebleu.metrics.bleu import BLEU

from textvae.interfaces.readable import AS_IT_IS
from textvae.interfaces.text_vae import TextVAE
from textvae.support.display import one_line
from textvae.support.errors import UserError
from textvae.support.program import program
from textvae.support.seeds import check_seed
from textvae.text.corpus import load_corpus
from textvae.training.recipe import read_recipe


def main() -> None:
    """Draw the pairs, interpolate and print."""
    arguments = read_arguments()
    check_seed(arguments.seed, "--seed")
    recipe = read_recipe(arguments.run / "recipe.yaml")
    vae = TextVAE.from_pretrained(arguments.run)
    test, wanted = load_corpus(**recipe.corpus)["test"], 2 * arguments.pairs
    texts = list(islice(test.shuffle(seed=arguments.seed)["text"], max(wanted, 0)))
    if not 0 < wanted == len(texts):
        raise UserError(
            f"expected --pairs of at least 1 and two test sentences for each pair, got {arguments.pairs} and "
            f"{len(texts)} sentences: choose fewer pairs"
        )
    ends, decoded = [], []
    for a, b in zip(texts[::2], texts[1::2], strict=True):
        way = vae.path_between(a, b, arguments.steps, arguments.path)
        sentences = vae.decode(way, **AS_IT_IS)
        print(f"*{one_line(a)}*\n")
        for sentence, surprise in zip(sentences, -vae.score(sentences, way), strict=True):
            print(f"    {surprise:6.1f}  {one_line(sentence)}")
        print(f"\n*{one_line(b)}*\n")
        ends += [a, b]
        decoded += [sentences[0], sentences[-1]]
    score = BLEU().corpus_score(decoded, [ends])
    print(
        f"-log p(x | z) in nats before each step. BLEU of the {len(ends)} reconstructed ends: {score.score:.1f}"
    )


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Print interpolations between test sentences of a run.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "--pairs", type=int, default=10, metavar="N", help="number of pairs of test sentences"
    )
    parser.add_argument(
        "--steps", type=int, default=5, metavar="N", help="sentences in each interpolation, with both ends"
    )
    parser.add_argument("--path", choices=["linear", "spherical"], default="linear")
    parser.add_argument("--seed", type=int, default=0, help="seed for drawing the pairs")
    return parser.parse_args()


if __name__ == "__main__":
    with program():
        main()
