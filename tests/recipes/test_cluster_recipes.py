"""The clustering recipes run unchanged for three steps on a substitute for their corpora, and write their results."""

import json
import re
import shlex
from pathlib import Path

import pytest

from textvae.training.recipe import read_recipe
from textvae.training.run import run

FOLDER = Path(__file__).parents[2] / "recipes" / "clustering"
RECIPES = sorted(FOLDER.glob("*.yaml"))
SENTENCES = [path for path in RECIPES if path.stem != "documents"]
SMALL = [
    "model.embedding_size=8",
    "model.hidden_size=12",
    "tokenizer.kind=words",
    "tokenizer.minimum_count=1",
    "tokenizer.vocabulary_size=null",
    "training.max_steps=3",
    "training.warmup_steps=0",
    "training.per_device_train_batch_size=8",
    "evaluation.samples=2",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[str]:
    """Overrides that replace the corpus by two topics that share no word."""
    file = tmp_path_factory.mktemp("corpus") / "rows.jsonl"
    words = {"beasts": "cat dog cow hen", "news": "bank vote film race"}
    # As many words as the baselines have singular components, each in three texts.
    texts = [(f"{ws} {label}{i}", label) for label, ws in words.items() for i in range(40)] * 3
    file.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in texts))
    splits = [f"corpus.{split}={file}" for split in ("train", "validation", "test")]
    return [*splits, "corpus.columns=null"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_recipe_runs(recipe, corpus, tmp_path):
    # A bag of words has no word vectors.
    small = [each for each in SMALL if recipe in SENTENCES or "embedding" not in each]
    result = run(read_recipe(recipe, [*small, *corpus, f"training.output_dir={tmp_path}"]), quiet=True)
    assert result.sentences == 240


@pytest.mark.slow
def test_a_finished_run_is_clustered_but_not_trained_again(script, corpus, tmp_path):
    options = [FOLDER / "agnews.yaml", *SMALL, *corpus, f"training.output_dir={tmp_path}", "--quiet"]
    assert (
        script("clustering/cluster.py", *options, "--method", "k-means", "--method", "diagonal-mixture").code
        == 0
    )
    results = json.loads((tmp_path / "clustering.json").read_text())
    assert [result["method"] for result in results] == ["k-means", "diagonal-mixture", "TF-IDF, SVD, k-means"]
    assert all(0.5 <= result["accuracy"] <= 1 and result["clusters"] <= 2 for result in results)
    trained = (tmp_path / "evaluation.json").stat().st_mtime_ns
    ended = script("clustering/cluster.py", *options, "--method", "k-means", "--clusters", 5)
    assert (ended.code, ended.out.split()[:2]) == (0, ["method", "seed"])
    assert (tmp_path / "evaluation.json").stat().st_mtime_ns == trained
    result = json.loads((tmp_path / "clustering.json").read_text())[0]
    assert 2 < result["clusters"] <= 5
    ended = script("clustering/cluster.py", *options, "model.latent_size=5")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "expected a run of this recipe" in ended.err


@pytest.mark.parametrize("recipe", SENTENCES, ids=lambda path: path.stem)
def test_the_header_says_what_to_run(recipe):
    header = recipe.read_text(encoding="utf-8").split("\ncorpus:")[0]
    for name in ("cluster.py", "baselines.py"):
        assert f"python recipes/clustering/{name} recipes/clustering/{recipe.name}" in header


@pytest.mark.parametrize("recipe", SENTENCES, ids=lambda path: path.stem)
def test_the_variants_of_the_header_are_recipes(recipe):
    header = (
        recipe.read_text(encoding="utf-8").split("\ncorpus:")[0].replace("\n#   pretraining", " pretraining")
    )
    dilated, prior, auto_encoder = (
        read_recipe(recipe, shlex.split(re.search(rf"# {name}: +(.*)", header).group(1)))
        for name in ("Dilated-convolution decoder", "Mixture as the prior", "LSTM auto-encoder")
    )
    assert dilated.model.options["decoder"]["kind"] == "dilated_convolution"
    assert prior.model.options["prior"]["kind"] == "mixture"
    assert auto_encoder.model.options["encoder"]["kind"] == "lstm"
    assert auto_encoder.model.options["bag_of_words"] is None
    assert prior.keep_decoder
    assert "prior" not in prior.pretraining.model.options
    assert prior.pretraining.objective == read_recipe(recipe).objective == prior.objective
    for key in ("num_train_epochs", "learning_rate"):
        assert prior.pretraining.training[key] == read_recipe(recipe).training[key] > prior.training[key]
    assert auto_encoder.objective.target_rate is None
    assert auto_encoder.objective.kl_weight.end == 0
    folders = {r.folder for r in (read_recipe(recipe), dilated, prior, auto_encoder)}
    assert len(folders) == 4


def test_baselines_tell_topics_apart(script, corpus, tmp_path):
    options = [FOLDER / "agnews.yaml", *corpus, f"training.output_dir={tmp_path}", "--seeds", 1]
    assert script("clustering/baselines.py", *options).code == 0
    results = json.loads((tmp_path / "baselines.json").read_text())
    assert [result["method"] for result in results] == ["tfidf-svd-mixture", "tfidf-svd-k-means", "lda"]
    assert [result["accuracy"] for result in results] == [1, 1, 1]


def test_a_corpus_without_labels_is_refused(script, tmp_path):
    (tmp_path / "plain.txt").write_text("cat dog\n" * 40)
    plain = [f"corpus.train={tmp_path}/plain.txt", "corpus.test=null", "corpus.columns=null"]
    ended = script("clustering/cluster.py", FOLDER / "agnews.yaml", *plain, "corpus.validation_size=3")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "expected a corpus with labels" in ended.err


def test_news_are_prepared(script, tmp_path):
    (tmp_path / "classes.txt").write_text("World\nSports\n")
    (tmp_path / "train.csv").write_text('class_index,title,description\n1,"A, b","c ""d"""\n2,E,f\n')
    (tmp_path / "test.official.csv").write_text('"2","G","f"\n')
    assert script("clustering/prepare.py", "agnews", tmp_path, "-o", tmp_path / "new").code == 0
    train, test = ((tmp_path / "new" / f"{split}.jsonl").read_text() for split in ("train", "test"))
    assert json.loads(train) == {"text": 'A, b c "d"', "label": "World"}
    assert json.loads(test) == {"text": "G f", "label": "Sports"}
    ended = script("clustering/prepare.py", "20ng", tmp_path)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "expected one file train.jsonl" in ended.err


def test_messages_lose_what_gives_their_class_away(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = "Subject: atheism\nFrom: me\n\nYou wrote:\n> old\nmy own words\n\n--\nMe, at work"
    row = {"id": "1", "label": "alt.atheism"}
    lines = [json.dumps(row | {"text": message}), json.dumps(row | {"text": "Subject: atheism\n\n> old"})]
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    assert script("clustering/prepare.py", "20ng", tmp_path).code == 0
    for split in ("train", "test"):
        written = (tmp_path / "20ng" / f"{split}.jsonl").read_text()
        assert json.loads(written) == {"text": "my own words", "label": "alt.atheism"}


@pytest.mark.slow
def test_reviews_are_split_anew(script, tmp_path):
    negative = [f"bad {row}" for row in range(60_000)]
    positive = [f"good {row}" for row in range(60_010)]
    (tmp_path / "dev.0").write_text("\n".join([*negative, "so so", "bad 7"]))
    (tmp_path / "dev.1").write_text("\n".join([*positive[:9], "", "so so"]))
    (tmp_path / "test.1").write_text("\n".join(positive))
    made = []
    for folder in ("one", "two"):
        assert script("clustering/prepare.py", "yelp", tmp_path, "-o", tmp_path / folder).code == 0
        files = [tmp_path / folder / f"{split}.jsonl" for split in ("train", "validation", "test")]
        made.append([file.read_text().splitlines() for file in files])
    assert made[0] == made[1]
    assert [len(lines) for lines in made[0]] == [100_000, 10_000, 10_000]
    rows = [json.loads(line) for lines in made[0] for line in lines]
    texts = {row["text"] for row in rows}
    assert len(texts) == 120_000
    assert texts < {*negative, *positive}
    assert all(row["label"] == ("positive" if row["text"].startswith("good") else "negative") for row in rows)
    (tmp_path / "dev.0").unlink()
    ended = script("clustering/prepare.py", "yelp", tmp_path)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "found 60,011" in ended.err


STORY = """<REUTERS TOPICS="YES" LEWISSPLIT="{}"><TOPICS>{}</TOPICS><TEXT><TITLE>A &lt;B></TITLE><BODY>c
d</BODY></TEXT></REUTERS>"""


def test_stories_of_one_topic_are_prepared(script, tmp_path):
    topics = "<D>earn</D>", "<D>acq</D><D>earn</D>", ""
    stories = [STORY.format(split, topic) for split in ("TRAIN", "TEST", "NOT-USED") for topic in topics]
    (tmp_path / "reut2-000.sgm").write_text("\n".join(stories))
    assert script("clustering/prepare.py", "reuters", tmp_path, "-o", tmp_path / "new").code == 0
    for split in ("train", "test"):
        rows = [json.loads(line) for line in (tmp_path / "new" / f"{split}.jsonl").read_text().splitlines()]
        assert rows == [{"text": "A <B> c d", "label": "earn"}]


def test_lines_with_labels_are_prepared(script, tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text(f"earn\tprofit of {split}\nacq\tb\tc\n")
    assert script("clustering/prepare.py", "r8", tmp_path, "-o", tmp_path / "new").code == 0
    rows = [json.loads(line) for line in (tmp_path / "new" / "train.jsonl").read_text().splitlines()]
    assert rows == [{"text": "profit of train", "label": "earn"}, {"text": "b\tc", "label": "acq"}]
