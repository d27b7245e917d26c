"""The demo: train a small sentence VAE on the embedded corpus, measure it, and use it.

make demo
"""

import argparse
from pathlib import Path

import matplotlib
import numpy
from datasets import Dataset
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from textvae.evaluation.report import report
from textvae.interfaces.clustering import cluster_texts
from textvae.interfaces.text_vae import TextVAE
from textvae.latent_space.maps import project
from textvae.pictures.page import write_page
from textvae.support.program import program
from textvae.text.corpus import load_corpus
from textvae.text.grammar import Grammar
from textvae.training.checks import check_run
from textvae.training.recipe import read_recipe
from textvae.training.run import run

matplotlib.use("Agg")
from matplotlib import pyplot

RECIPE = Path(__file__).with_name("demo.yaml")


def main() -> None:
    """Train, measure, sample, reconstruct, interpolate, cluster and draw."""
    parser = argparse.ArgumentParser(
        description="Train a small sentence VAE on the embedded corpus and use it."
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="override a value of demo.yaml"
    )
    recipe = read_recipe(RECIPE, parser.parse_args().overrides)
    check_run(recipe)
    title(f"Training on the embedded corpus ({RECIPE.name})")
    result = run(recipe, overwrite=True)
    test = load_corpus(**recipe.corpus)["test"]
    vae = TextVAE.from_pretrained(recipe.folder)

    title("Held-out sentences")
    print(report(result))

    title("Sentences sampled from the prior")
    print("\n".join(vae.sample(8, seed=1)))

    title("Reconstruction: a held-out sentence, then the decoding of its latent vector")
    originals = test["text"][:4]
    for original, copy in zip(originals, vae.reconstruct(originals), strict=True):
        print(f"{original}\n    {copy}")

    title("Interpolation between two held-out sentences")
    print("\n".join(vae.interpolate(test["text"][4], test["text"][5], steps=7)))

    title("What the latent vector encodes: accuracy of a linear classifier, and of the most frequent answer")
    texts = test["text"][:]
    vectors = numpy.asarray(vae.encode(texts, show_progress_bar=False))
    for factor in Grammar.load().factors:
        labels = numpy.array(test[factor])
        right = cross_val_score(LogisticRegression(max_iter=1000), vectors, labels, cv=3).mean()
        print(f"{factor:10} {right:5.0%}   {numpy.bincount(labels).max() / len(labels):5.0%}")

    title("Clusters of the latent vectors: characteristic words, nearest sentence, decoding of the centre")
    print(
        cluster_texts(vae, texts, clusters=5, words=8, nearest=1, draws=1, show_progress_bar=False).report()
    )

    places = project(vectors, "tsne")
    picture, page = recipe.folder / "map.png", recipe.folder / "map.html"
    draw_map(places, test, picture)
    kinds = test.features["type"].names
    write_page(
        places, texts, test["type"][:], page, title="The embedded corpus, by sentence type", names=kinds
    )
    title("Written")
    print(
        f"{recipe.folder}/   the run: model, tokenizer, recipe, evaluation\n"
        f"{picture}   a map of its latent space\n{page}   the same map as a page to explore"
    )


def title(words: str) -> None:
    """Print a heading."""
    print(f"\n== {words}\n", flush=True)


def draw_map(places: numpy.ndarray, test: Dataset, picture: Path) -> None:
    """Draw the positions (n, 2) of the test sentences, one panel for each of four factors."""
    figure, panels = pyplot.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for axes, factor in zip(panels.flat, ("type", "register", "polarity", "tense"), strict=True):
        labels = numpy.array(test[factor])
        for number, name in enumerate(test.features[factor].names):
            axes.scatter(*places[labels == number].T, s=5, label=name)
        axes.set(xticks=[], yticks=[], title=factor)
        axes.legend(frameon=False, markerscale=3)
    figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    with program():
        main()
