"""The translation demo: train an English-to-German model on the embedded corpus, measure it, and use it.

make demo-translation
"""

import argparse
from pathlib import Path

from textvae.evaluation.report import report
from textvae.interfaces.translator import Translator
from textvae.pictures.attention import draw_attention
from textvae.support.program import program
from textvae.text.corpus import load_corpus
from textvae.training.checks import check_run
from textvae.training.recipe import read_recipe
from textvae.training.run import run

RECIPE = Path(__file__).with_name("grammar.yaml")

SENTENCES = 5
"""Number of translations to print."""


def main() -> None:
    """Train, measure, translate and draw."""
    parser = argparse.ArgumentParser(
        description="Train a translation model on the embedded corpus and use it."
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="override a value of grammar.yaml"
    )
    print(f"\n== Training on pairs of the embedded corpus ({RECIPE.name})\n", flush=True)
    recipe = read_recipe(RECIPE, parser.parse_args().overrides)
    check_run(recipe)
    result = run(recipe, overwrite=True)
    pairs = load_corpus(**recipe.corpus)["test"].select(range(SENTENCES))
    translator = Translator.from_pretrained(recipe.folder)

    print(f"\n== Held-out pairs\n\n{report(result)}")

    print("\n== Translations; if one differs from the reference, the reference follows\n")
    sources, references = pairs["source"][:], pairs["target"][:]
    translations = translator.translate(sources)
    for source, translation, reference in zip(sources, translations, references, strict=True):
        print(f"{source}\n    {translation}" + (f"\n    {reference}" if translation != reference else ""))

    picture = recipe.folder / "attention.png"
    pair = sources[0], translations[0]
    of_source, of_target = translator.tokens(*pair)
    draw_attention(translator.attention(*pair), of_source, of_target, picture)
    print(f"\n== Written\n\n{recipe.folder}/   the run\n{picture}   the attention of the first translation")


if __name__ == "__main__":
    with program():
        main()
