"""Compare three ways to get several translations of a source: draws of z, the best of a beam, draws of the words.

python recipes/translation/diversity.py runs/multi30k_vnmt --sources 1000

For each draw of z, a beam search finds the translation. Words are drawn at several temperatures, with z at the prior's
mean. The temperature whose BLEU is nearest to the BLEU of the draws of z is compared (for a model without z: nearest to
the beam), because diversity is easy to get with worse translations. RUN/diversity/ gets the numbers, the picture and
the translations.
"""

import argparse
import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from textvae.evaluation.translation import Diversity, diversity
from textvae.interfaces.translator import Translator
from textvae.pictures.diversity import draw_diversity
from textvae.pictures.figure import check_picture
from textvae.support.files import replacing
from textvae.support.program import program
from textvae.support.seeds import check_seed
from textvae.text.corpus import load_corpus
from textvae.training.recipe import read_recipe

COLUMNS = ("bleu", "oracle_bleu", "self_bleu", "distinct_1", "distinct_2")

Sets = list[list[str]]


def main() -> None:
    """Translate, measure, draw the picture, print and write."""
    arguments = read_arguments()
    folder = arguments.run / "diversity"
    check_seed(arguments.seed, "--seed")
    check_picture(folder / "diversity.png")
    recipe = read_recipe(arguments.run / "recipe.yaml")
    rows = list(islice(load_corpus(**recipe.corpus)["test"], arguments.sources))
    tokenize = recipe.evaluation.meters["translation"].get("tokenize", "13a")
    sources, references = ([row[side] for row in rows] for side in ("source", "target"))
    sets = translations(Translator.from_pretrained(arguments.run), sources, arguments)
    found = {way: diversity(own, references, tokenize) for way, own in sets.items()}
    ways = compared(found)
    sizes = sorted({n for n in (2, 3, 5, 10, 20) if n < arguments.translations} | {arguments.translations})
    curves = {
        way: {n: diversity([texts[:n] for texts in sets[way]], references, tokenize) for n in sizes}
        for way in ways
    }
    draw_diversity(curves, folder / "diversity.png")
    contents = {"diversity": {way: own.to_dict() for way, own in found.items()}, "translations": sets}
    for name, content in contents.items():
        with replacing(folder / f"{name}.json") as partial:
            partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{'':22}" + "".join(f"{column:>13}" for column in COLUMNS))
    for way, own in found.items():
        line = f"{way:20}{'*' if way in ways else ' '} " + "".join(
            f"{getattr(own, name):13.3f}" for name in COLUMNS
        )
        print(line)
    print(f"\n* drawn in {folder}/diversity.png")


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Measure the diversity of a run's translations.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "--translations", type=int, default=10, metavar="N", help="translations of each source"
    )
    parser.add_argument(
        "--sources",
        type=int,
        default=None,
        metavar="N",
        help="number of sources from the test split; default: all",
    )
    parser.add_argument("--beam", type=int, default=5, metavar="N", help="beams of the search for each z")
    parser.add_argument(
        "--temperatures", type=float, nargs="+", default=[0.2, 0.4, 0.6, 0.8, 1.0], metavar="T"
    )
    parser.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="number of sources in a batch"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed for all draws")
    return parser.parse_args()


def translations(
    translator: Translator, sources: list[str], arguments: argparse.Namespace
) -> dict[str, Sets]:
    """Several translations of each source, for each way of finding them."""
    n = arguments.translations
    ways: dict[str, dict[str, Any]] = {}
    if translator.model.config.latent_size:
        ways["z"] = {"latent": "sample", "num_beams": arguments.beam}
    ways["beam"] = {"latent": "mean", "num_beams": max(n, arguments.beam)}
    for temperature in arguments.temperatures:
        ways[f"words at {temperature:g}"] = {"latent": "mean", "temperature": temperature}
    shared = {"samples": n, "batch_size": arguments.batch_size, "seed": arguments.seed}
    return {way: translator.translate(sources, **shared, **options) for way, options in ways.items()}


def compared(found: Mapping[str, Diversity]) -> list[str]:
    """The ways with similar BLEU: all, but of those that draw words only the nearest one."""
    wanted = found["z" if "z" in found else "beam"].bleu
    words = [way for way in found if way.startswith("words")]
    nearest = min(words, key=lambda way: abs(found[way].bleu - wanted))
    return [way for way in found if way not in words or way == nearest]


if __name__ == "__main__":
    with program():
        main()
