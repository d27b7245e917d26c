"""Print the interpolation between two sentences, and draw it with the new words marked.

python examples/interpolate.py runs/demo "The cook baked a cake." "Did the striker miss the penalty?" -o way.png
"""

import argparse

from textvae import TextVAE
from textvae.pictures.strip import draw_strip
from textvae.support.errors import reported_to_user


def main() -> None:
    """Load a run, interpolate, print the sentences and save the picture."""
    parser = argparse.ArgumentParser(description="Print and draw the interpolation between two sentences.")
    parser.add_argument("run", help="a run folder, or a model on the Hub")
    parser.add_argument("first", help="the sentence at the start")
    parser.add_argument("last", help="the sentence at the end")
    parser.add_argument("-o", "--output", default="way.png", help="the picture: a .png, .pdf or .svg")
    parser.add_argument("--steps", type=int, default=7, help="number of sentences, including both ends")
    parser.add_argument("--path", choices=["linear", "spherical"], default="linear")
    arguments = parser.parse_args()
    with reported_to_user():
        vae = TextVAE.from_pretrained(arguments.run)
        z = vae.path_between(arguments.first, arguments.last, arguments.steps, arguments.path)
        sentences = vae.decode(z)
        scores = vae.score(sentences, z)
        for sentence, score in zip(sentences, scores, strict=True):
            print(f"{-score:6.1f}  {sentence}")
        draw_strip(sentences, scores, arguments.output)
    print(f"-log p(x | z) in nats before each sentence; picture: {arguments.output}")


if __name__ == "__main__":
    main()
