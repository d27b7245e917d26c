"""Find the topics of documents: vectors of a text VAE, k-means, and the characteristic words of each cluster.

python examples/topics_of_documents.py documents.txt --clusters 10
"""

import argparse

from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline

from textvae import TextVAEEmbedder, UserError, load_corpus
from textvae.support.errors import reported_to_user
from textvae.text.keywords import characteristic_words


def main() -> None:
    """Learn vectors and clusters from a file, and print the size and the words of each cluster."""
    parser = argparse.ArgumentParser(description="Cluster the documents of a file and print their topics.")
    parser.add_argument(
        "file", help="one document on each line; or CSV, TSV, JSON lines, Parquet with a column text"
    )
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--latent-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10, help="number of passes over the documents")
    arguments = parser.parse_args()
    with reported_to_user():
        # Clustering needs no held-out documents. The same file for each split keeps load_corpus from drawing any.
        texts = load_corpus(arguments.file, arguments.file, arguments.file)["train"]["text"][:]
        if not 0 < arguments.clusters <= len(texts):
            raise UserError(f"expected --clusters from 1 to {len(texts)} documents, got {arguments.clusters}")
        embedder = TextVAEEmbedder(
            arguments.latent_size, epochs=arguments.epochs, random_state=0, verbose=True
        )
        pipeline = make_pipeline(embedder, KMeans(arguments.clusters, random_state=0))
        clusters = pipeline.fit_predict(texts)
        for cluster, words in characteristic_words(texts, clusters).items():
            print(f"{(clusters == cluster).sum():6,} documents: {', '.join(words)}")


if __name__ == "__main__":
    main()
