"""The demo: train a small sentence VAE on the embedded corpus, measure it, and use it.

make demo
"""

import argparse
from pathlib import Path

import matplotlib
from datasets import Dataset
from sklearn.manifold import TSNE

from textvae.errors import reported_to_user
from textvae.evaluation.report import report
from textvae.text.corpus import load_corpus
from textvae.text_vae import TextVAE
from textvae.training.recipe import read_recipe
from textvae.training.run import run

matplotlib.use("Agg")
from matplotlib import pyplot

RECIPE = Path(__file__).with_name("demo.yaml")
MAPPED = 1000


def main() -> None:
    """Train, measure, sample, reconstruct, interpolate and draw."""
    parser = argparse.ArgumentParser(
        description="Train a small sentence VAE on the embedded corpus and use it."
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="replaces a value of demo.yaml"
    )
    with reported_to_user():
        recipe = read_recipe(RECIPE, parser.parse_args().overrides)
        title(f"Training on the embedded corpus ({RECIPE.name})")
        result = run(recipe, overwrite=True)
        test = load_corpus(**recipe.corpus)["test"]
    vae = TextVAE.from_pretrained(recipe.folder)

    title("Held-out sentences")
    print(report(result))

    title("Sentences sampled from the prior")
    print("\n".join(vae.sample(8, seed=1)))

    title("Reconstruction: a held-out sentence, and what its latent vector decodes to")
    originals = test["text"][:4]
    for original, copy in zip(originals, vae.reconstruct(originals), strict=True):
        print(f"{original}\n    {copy}")

    title("Interpolation between two held-out sentences")
    print("\n".join(vae.interpolate(test["text"][4], test["text"][5], steps=7)))

    picture = recipe.folder / "map.png"
    draw_map(vae, test.select(range(min(MAPPED, len(test)))), picture)
    title("Written")
    print(
        f"{recipe.folder}/   the run: model, tokenizer, recipe, evaluation\n{picture}   its latent space, by topic"
    )


def title(words: str) -> None:
    """A line above what follows."""
    print(f"\n== {words}\n", flush=True)


def draw_map(vae: TextVAE, test: Dataset, picture: Path) -> None:
    """A t-SNE map of the posterior means of the test sentences, coloured by topic."""
    topics = test.features["topic"].names
    places = TSNE(random_state=0, init="pca").fit_transform(vae.encode(test["text"][:]))
    figure, axes = pyplot.subplots(figsize=(8, 5.5), layout="constrained")
    colours = matplotlib.colormaps["tab20"]
    for number, topic in enumerate(topics):
        chosen = [row for row, label in enumerate(test["topic"]) if label == number]
        axes.scatter(places[chosen, 0], places[chosen, 1], s=9, color=colours(number % 20), label=topic)
    axes.set(xticks=[], yticks=[], title="Held-out sentences in the latent space (t-SNE)")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2)
    figure.savefig(picture, dpi=130)


if __name__ == "__main__":
    main()
