"""An embedder in a pipeline clusters the documents, and each cluster gets its own words."""

import re

import pytest

TINY = ("--latent-size", 2, "--epochs", 1)


@pytest.fixture
def documents(apart, tmp_path):
    """A file of 40 documents: 20 for each of two topics that share no word."""
    file = tmp_path / "documents.txt"
    topics = ["dog cat horse sheep", "bank loan money debt"]
    file.write_text("".join(f"{' '.join(topic.split()[i % 4 :])}\n" for topic in topics for i in range(20)))
    return file


@pytest.mark.slow
def test_each_document_is_in_a_cluster_with_words(example, documents):
    result = example("topics_of_documents.py", documents, "--clusters", 2, *TINY)
    assert result.code == 0, result.err
    clusters = re.findall(r"^ *(\d+) documents: (.*)$", result.out, re.MULTILINE)
    assert len(clusters) == 2
    assert sum(int(size) for size, _ in clusters) == 40
    words = {word for _, found in clusters for word in found.split(", ") if word}
    assert words <= set("dog cat horse sheep bank loan money debt".split())


@pytest.mark.parametrize("clusters", [0, 41])
def test_a_number_of_clusters_that_cannot_be_is_refused(example, documents, clusters):
    result = example("topics_of_documents.py", documents, "--clusters", clusters, *TINY)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert f"from 1 to 40 documents, got {clusters}" in result.err
