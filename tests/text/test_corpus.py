import gzip
import json
import os
from pathlib import Path

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, IterableDatasetDict, List, Value
from real import DATA, needs

from textvae.support.errors import UserError
from textvae.text.corpus import load_corpus

LINES = [f"sentence {i}" for i in range(40)]


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    """Gives each test its own cache and working directory, and forbids access to the Hub."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)


def write(name, content):
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):
        content = "".join(line + "\n" for line in content)
    content = content.encode() if isinstance(content, str) else content
    file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return name


def texts(corpus, split="train", column="text"):
    return [row[column] for row in corpus[split]]


# ---- the embedded corpus


def test_embedded_corpus_has_its_columns_and_sizes():
    corpus = load_corpus("grammar", sizes=(30, 5, 4))
    assert {name: rows.num_rows for name, rows in corpus.items()} == {"train": 30, "validation": 5, "test": 4}
    train = corpus["train"]
    assert train.column_names[:4] == ["text", "source", "target", "topic"]
    assert train["text"] == train["source"] != train["target"]
    assert isinstance(train.features["topic"], ClassLabel)
    assert max(train["log_prob"]) < 0
    assert "label" not in train.column_names


def test_embedded_corpus_depends_on_the_seed_alone():
    one, same, other = (load_corpus("grammar", sizes=(20, 20, 20), seed=seed) for seed in (0, 0, 1))
    assert texts(one) == texts(same)
    assert len({tuple(texts(c, s)) for c in (one, other) for s in ("train", "validation", "test")}) == 6


def test_embedded_corpus_in_german_with_a_factor_as_label():
    corpus = load_corpus("grammar", sizes=(9, 1, 1), language="de", columns={"label": "topic"})
    assert texts(corpus) == texts(corpus, column="target")
    assert texts(corpus, column="label") == texts(corpus, column="topic")
    assert corpus["test"].features["label"] == corpus["test"].features["topic"]


def test_embedded_corpus_streams():
    stream = load_corpus("grammar", sizes=(9, 1, 1), streaming=True)
    assert isinstance(stream, IterableDatasetDict)
    assert list(stream["train"]) == list(load_corpus("grammar", sizes=(9, 1, 1))["train"])


# ---- text files


@pytest.mark.parametrize("name", ["a.txt", "a.en", "a.0", "a", "a.txt.gz", "a.en.gz", "odd [1]*?.txt"])
def test_text_lines_are_stripped_and_blank_ones_skipped(name):
    file = write(name, " the first \r\n\n \t\nthe\u2028second\n\xa0\nthird")
    corpus = load_corpus(file, file, file)
    assert isinstance(corpus, DatasetDict)
    for split in ("train", "validation", "test"):
        assert corpus[split].to_dict() == {"text": ["the first", "the\u2028second", "third"]}


def test_byte_order_mark_is_dropped():
    file = write("a.txt", "\ufeffone\ntwo")
    assert texts(load_corpus(file, file, file)) == ["one", "two"]


def test_rows_are_memory_mapped_and_cached(tmp_path):
    corpus = load_corpus(write("a.txt", LINES), validation_size=5, test_size=5)
    assert all(file["filename"].startswith(str(tmp_path / "cache")) for file in corpus["train"].cache_files)
    assert corpus["train"].cache_files


def test_a_changed_file_is_read_again():
    write("a.txt", ["old"])
    assert texts(load_corpus("a.txt", "a.txt", "a.txt")) == ["old"]
    write("a.txt", ["new"])
    os.utime("a.txt", (1, 1))
    assert texts(load_corpus("a.txt", "a.txt", "a.txt")) == ["new"]


def test_glob_list_and_path():
    write("d/train.2.en", ["c"])
    write("d/train.1.en", ["a", "b"])
    files = ["d/train.2.en", "d/train.1.en"]
    corpus = load_corpus("d/train.*.en", files, Path("d/train.2.en"))
    assert [texts(corpus, split) for split in ("train", "validation", "test")] == [
        ["a", "b", "c"],
        ["c", "a", "b"],
        ["c"],
    ]


def test_parallel_files_keep_step_where_one_side_is_blank():
    pair = {
        "source": write("a.en", ["one", "", "three", "four"]),
        "target": write("a.de", ["eins", "zwei", " ", "vier"]),
    }
    for streaming in (False, True):
        corpus = load_corpus(pair, pair, pair, streaming=streaming)
        assert list(corpus["train"]) == [
            {"source": "one", "target": "eins"},
            {"source": "four", "target": "vier"},
        ]


def test_parallel_files_of_texts_and_labels():
    pair = {"text": write("a.txt", ["x", "y", "z"]), "label": write("gnd.txt", ["10", "9", "10"])}
    train = load_corpus(pair, pair, pair)["train"]
    assert train.features["label"].names == ["9", "10"]
    assert train.to_dict() == {"text": ["x", "y", "z"], "label": [1, 0, 1]}


@pytest.mark.parametrize("streaming", [False, True])
def test_parallel_files_of_different_length(streaming):
    pair = {"source": write("a.en", ["one", "two"]), "target": write("a.de", ["eins"])}
    with pytest.raises(UserError, match=r"same number of lines .* got 2 in a\.en, 1 in a\.de"):
        load_corpus(pair, streaming=streaming)


def test_parallel_globs_are_read_one_file_after_the_other():
    for name, lines in {
        "1.en": ["one"],
        "2.en": ["two", "three"],
        "1.de": ["eins", "zwei"],
        "2.de": ["drei"],
    }.items():
        write(f"d/{name}", lines)
    pair = {"source": "d/*.en", "target": "d/*.de"}
    assert list(load_corpus(pair, pair, pair)["train"]) == [
        {"source": "one", "target": "eins"},
        {"source": "two", "target": "zwei"},
        {"source": "three", "target": "drei"},
    ]
    write("d/3.en", ["four"])
    with pytest.raises(UserError, match=r"same number of lines .* got 4 in d/\*\.en, 3 in d/\*\.de"):
        load_corpus(pair)
    with pytest.raises(UserError, match=r"files matching d/\*\.fr, found none"):
        load_corpus({"source": "d/*.en", "target": "d/*.fr"})


def test_a_side_that_says_nothing():
    pair = {"source": write("a.en", ["one", "two"]), "target": write("a.de", ["", " "])}
    with pytest.raises(UserError, match="expected rows with text, got none in train"):
        load_corpus(pair)


def test_both_directions_of_the_embedded_corpus():
    there = load_corpus("grammar", sizes=(5, 1, 1))["train"]
    back = load_corpus("grammar", sizes=(5, 1, 1), columns={"source": "de", "target": "en"})["train"]
    assert there["source"][:] == back["target"][:]
    assert there["target"][:] == back["source"][:]


def test_dialogues_are_cut_into_utterances():
    file = write("a.txt", ["Hi . __eou__ Hello ! __eou__", " __eou__ "])
    train = load_corpus(file, file, file, columns={"dialogue": "text"})["train"]
    assert train.to_dict() == {"dialogue": [["Hi .", "Hello !"]]}
    listed = Dataset.from_dict({"dialogue": [["Hi . ", "", "Hello !"], []]})
    assert load_corpus(listed, listed, listed)["train"].to_dict() == train.to_dict()
    assert train.features["dialogue"] == List(Value("string"))


# ---- tables

TABLE = [("b", "NA"), ("a", "1984"), ("b", '"So, to say')]  # each value is often misread as another type


def table(kind):
    if kind.startswith("csv"):
        return 'stars,body\nb,NA\na,1984\nb,"""So, to say"\n'
    if kind.startswith("tsv"):
        return "stars\tbody\n" + "".join(f"{label}\t{text}\n" for label, text in TABLE)
    rows = [{"stars": label, "body": text} for label, text in TABLE]
    return json.dumps(rows) if kind == "json" else "\n".join(map(json.dumps, rows))


@pytest.mark.parametrize(
    "kind", ["csv", "tsv", "jsonl", "ndjson", "json", "csv.gz", "tsv.gz", "jsonl.gz", "parquet"]
)
@pytest.mark.parametrize("streaming", [False, True])
def test_tables(kind, streaming):
    file = f"a.{kind}"
    if kind == "parquet":
        Dataset.from_dict(
            {"stars": [label for label, _ in TABLE], "body": [text for _, text in TABLE]}
        ).to_parquet(file)
    else:
        write(file, table(kind))
    columns = {"label": "stars", "text": "body"}
    train = load_corpus(file, file, file, columns=columns, streaming=streaming)["train"]
    labels = ["b", "a", "b"] if streaming else [1, 0, 1]
    assert list(train) == [{"text": t, "label": n} for n, (_, t) in zip(labels, TABLE, strict=True)]


@pytest.mark.parametrize("name", ["a.tsv", "a.txt", "a.csv", "a.csv.gz"])
def test_tables_without_a_header(name):
    separator = "," if "csv" in name else "\t"
    file = write(name, [f"3{separator}first", f"1{separator}second"])
    train = load_corpus(file, file, file, columns={"label": 0, "text": 1})["train"]
    assert train.to_dict() == {"text": ["first", "second"], "label": [1, 0]}


def test_cells_that_are_missing():
    file = write("a.csv", "text,label\none,x\n,x\nthree,\n")
    train = load_corpus(file, file, file)["train"]
    assert train.to_dict() == {"text": ["one", "three"], "label": [0, None]}


@pytest.mark.parametrize(
    ("columns", "taken"),
    [
        ({"sentence": ["a"], "id": [1]}, {"text": "sentence"}),
        ({"whatever": ["a"], "id": [1], "label": ["x"]}, None),
        ({"title": ["a"], "content": ["b"]}, {"text": "content"}),
        ({"source": ["a"], "target": ["b"], "id": ["c"]}, {"source": "source", "target": "target"}),
        ({"text": ["a"], "source": ["b"], "label": [2]}, {"text": "text", "label": "label"}),
        ({"text": ["a"], "label": [["x", "y"]]}, {"text": "text"}),
        ({"en": ["a"], "de": ["b"]}, None),
        ({"id": [1]}, None),
    ],
)
def test_columns_are_guessed_only_if_they_are_clear(columns, taken):
    rows = Dataset.from_dict(columns)
    if taken is None:
        with pytest.raises(
            UserError, match=rf"one column of text, got columns {', '.join(columns)}: say which"
        ):
            load_corpus(rows, rows, rows)
    else:
        assert load_corpus(rows, rows, rows)["train"].column_names == list(taken)


@pytest.mark.parametrize("path", ["translation", "pair.translation"])
def test_a_field_inside_a_column(path):
    cell = {"translation": {"en": "one", "de": "eins"}}
    rows = Dataset.from_list([{"pair": cell} if "pair" in path else cell])
    columns = {"source": f"{path}.en", "target": f"{path}.de"}
    for streaming in (False, True):
        corpus = load_corpus(rows, rows, rows, columns=columns, streaming=streaming)
        assert list(corpus["train"]) == [{"source": "one", "target": "eins"}]


def test_class_labels_stay_and_numbers_become_classes():
    named = Dataset.from_dict({"text": ["a"], "label": [1]}).cast_column(
        "label", ClassLabel(names=["no", "yes"])
    )
    assert load_corpus(named, named, named)["train"].features == named.features
    numbers = Dataset.from_dict({"text": ["a", "b", "c"], "label": [10, 9, -1]})
    train = load_corpus(numbers, numbers, numbers)["train"]
    assert (train.features["label"].names, train["label"][:]) == (["-1", "9", "10"], [2, 1, 0])


# ---- folders, the Hub, splits


def hub_like(**splits):
    for name, rows in splits.items():
        write(f"set/{name}.jsonl", [json.dumps({"text": row}) for row in rows])
    return "set"


def test_folder_brings_its_splits():
    corpus = load_corpus(hub_like(train=["a"], validation=["b"], test=["c"]))
    assert [texts(corpus, split) for split in corpus] == [["a"], ["b"], ["c"]]


def test_splits_by_name():
    folder = hub_like(train=["a"], validation=["b"], test=["c"])
    corpus = load_corpus(folder, validation="test", test=write("x.txt", ["x"]), split="validation")
    assert [texts(corpus, split) for split in corpus] == [["b"], ["c"], ["x"]]


def test_the_only_split_is_not_used_twice():
    corpus = load_corpus(hub_like(test=LINES))
    assert sum(rows.num_rows for rows in corpus.values()) == len(LINES)


def test_name_configuration_and_revision_reach_the_hub(monkeypatch):
    asked = []

    def load_dataset(*arguments, **options):
        asked.append((arguments, options))
        return DatasetDict({name: Dataset.from_dict({"text": [name]}) for name in ("train", "dev", "test")})

    monkeypatch.setattr("textvae.text.reader.load_dataset", load_dataset)
    corpus = load_corpus("owner/set", configuration="small", revision="refs/convert/parquet")
    assert asked == [(("owner/set", "small"), {"revision": "refs/convert/parquet", "streaming": False})]
    assert [texts(corpus, split) for split in corpus] == [["train"], ["dev"], ["test"]]


def test_missing_splits_are_drawn_with_the_seed():
    file = write("a.txt", LINES)
    corpus, same, other = (load_corpus(file, test_size=0.25, seed=seed) for seed in (1, 1, 2))
    assert {name: rows.num_rows for name, rows in corpus.items()} == {
        "train": 28,
        "validation": 2,
        "test": 10,
    }
    assert sorted(t for split in corpus for t in texts(corpus, split)) == sorted(LINES)
    assert texts(corpus) == sorted(texts(corpus), key=LINES.index)
    assert texts(corpus, "test") == texts(same, "test") != texts(other, "test")


def test_three_rows_are_enough_and_two_are_not():
    assert [rows.num_rows for rows in load_corpus(write("a.txt", ["a", "b", "c"])).values()] == [1, 1, 1]
    with pytest.raises(UserError, match="more than 1 for validation and 1 for test rows to draw from, got 2"):
        load_corpus(write("b.txt", ["a", "b"]))


def test_maximum_train():
    file = write("a.txt", LINES)
    small = load_corpus(file, maximum_train=5, seed=3)
    assert small["train"].num_rows == 5
    assert texts(small, "test") == texts(load_corpus(file, seed=3), "test")
    assert texts(small) != LINES[:5]
    assert texts(load_corpus(file, file, file, maximum_train=99)) == LINES


def test_streaming_takes_the_first_rows():
    corpus = load_corpus(
        write("a.txt", LINES), validation_size=2, test_size=3, maximum_train=4, streaming=True
    )
    assert isinstance(corpus, IterableDatasetDict)
    assert corpus["train"].column_names == ["text"]
    assert [texts(corpus, split) for split in corpus] == [LINES[5:9], LINES[:2], LINES[2:5]]


def test_settings_of_the_library_are_left_alone(capfd):
    assert not datasets.are_progress_bars_disabled()
    load_corpus(write("a.txt", LINES))
    assert not datasets.are_progress_bars_disabled()
    assert capfd.readouterr() == ("", "")


# ---- mistakes


def script_set():
    write("scripted/scripted.py", "")
    return "scripted"


def configured_set():
    write("configured/a.txt", ["a"])
    write("configured/b.txt", ["b"])
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.txt\n" for name in "ab")
    write("configured/README.md", f"---\nconfigs:\n{configs}---\n")
    return "configured"


def parquet_cut_short():
    Dataset.from_dict({"text": LINES}).to_parquet("short.parquet")
    return write("short.parquet", Path("short.parquet").read_bytes()[:-20])


def gzip_cut_short():
    Path("short.txt.gz").write_bytes(gzip.compress(b"a line\n" * 10_000)[:-20])
    return "short.txt.gz"


MISTAKES = {
    "missing file": (
        lambda: write("train.txt", ["a"]) and "trian.txt",
        {},
        r"found none \(did you mean 'train\.txt'\?\): check the path",
    ),
    "missing folder": (
        lambda: "no/such/folder",
        {},
        "expected a file or folder no/such/folder, found none: check",
    ),
    "missing in a list": (lambda: ["a.txt"], {}, r"expected a file or folder a\.txt, found none"),
    "glob without a match": (
        lambda: "*.nothing",
        {},
        r"files matching \*\.nothing, found none in .*: check the pattern",
    ),
    "empty file": (lambda: write("a.txt", ""), {}, r"rows with text, got none in .*a\.txt"),
    "blank lines": (lambda: write("a.txt", [" ", ""]), {}, "rows with text, got none in train"),
    "empty csv": (lambda: write("a.csv", ""), {}, r"rows with text, got none in .*a\.csv"),
    "csv of a header": (lambda: write("a.csv", "text\n"), {}, "rows with text, got none in"),
    "empty jsonl": (lambda: write("a.jsonl", ""), {}, r"rows with text, got none in .*a\.jsonl"),
    "missing column": (
        lambda: write("a.csv", "tekst,id\nx,1\n"),
        {"columns": {"text": "text"}},
        r"column 'text' in train, got tekst, id \(did you mean 'tekst'\?\): change columns\['text'\]",
    ),
    "numbers as text": (
        lambda: Dataset.from_dict({"id": [1]}),
        {"columns": {"text": "id"}},
        r"column 'id' in train, got Value\('int64'\), which cannot be text",
    ),
    "unknown column of ours": (
        lambda: "grammar",
        {"columns": {"txet": "x"}},
        r"columns among text, .*, got 'txet' \(did you mean 'text'\?\)",
    ),
    "latin-1": (
        lambda: write("a.txt", "ok\nna\u00efve\n".encode("latin-1")),
        {},
        r"UTF-8, got byte 0xef in line 2 of .*a\.txt: convert it",
    ),
    "latin-1, gzip": (
        lambda: write("a.txt.gz", b"ok\nok\n\xff\n"),
        {},
        r"UTF-8, got byte 0xff in line 3 of .*a\.txt\.gz",
    ),
    "latin-1, csv": (
        lambda: write("a.csv", b"text\nok\n\xff\n"),
        {},
        r"UTF-8, got byte 0xff in line 3 of .*a\.csv",
    ),
    "latin-1, jsonl": (
        lambda: write("a.jsonl", b'{"text": "ok"}\n{"text": "\xff"}\n'),
        {},
        r"UTF-8, got byte 0xff in line 2 of .*a\.jsonl",
    ),
    "latin-1, parallel": (
        lambda: {"source": write("a", b"\xff"), "target": write("b", "b")},
        {},
        "UTF-8, got byte 0xff in line 1 of a:",
    ),
    "latin-1, folder": (
        lambda: write("set/train.txt", b"ok\n\xff\n") and "set",
        {},
        r"UTF-8, got byte 0xff in line 2 of set/train\.txt",
    ),
    "latin-1, late in a stream": (
        lambda: write("a.txt", b"ok\n" * 10**6 + b"\xff\n"),
        {"streaming": True},
        r"UTF-8, got byte 0xff in line 1000001 of a\.txt",
    ),
    "latin-1, jsonl in a folder": (
        lambda: write("set/train.jsonl", b'{"text": "ok"}\n{"text": "\xff"}\n') and "set",
        {},
        r"UTF-8, got byte 0xff in line 2 of .*set/train\.jsonl",
    ),
    "latin-1, late in a folder's stream": (
        lambda: write("set/train.txt", b"ok\n" * 10**6 + b"\xff\n") and "set",
        {"streaming": True},
        r"UTF-8, got byte 0xff in line 1000001 of .*set/train\.txt",
    ),
    "binary file": (
        lambda: write("a.zip", b"PK\3\4\0\0"),
        {},
        r"got a\.zip, binary or UTF-16: convert it to UTF-8",
    ),
    "not gzip inside": (
        lambda: write("a.txt", b"\x1f\x8bnot gzip"),
        {},
        r"readable file, got a\.txt: .*; it may be cut short",
    ),
    "gzip cut short": (gzip_cut_short, {}, r"readable file, got short\.txt\.gz: Compressed file ended"),
    "gzip cut short, in a stream": (
        gzip_cut_short,
        {"streaming": True},
        r"readable file, got short\.txt\.gz: Compressed file ended",
    ),
    "gzip cut short, parallel": (
        lambda: {"source": gzip_cut_short(), "target": write("b", "b")},
        {},
        r"readable file, got short\.txt\.gz: Compressed file ended",
    ),
    "parquet cut short": (
        parquet_cut_short,
        {},
        r"readable file, got short\.parquet: .*; it may be cut short",
    ),
    "ragged csv": (
        lambda: write("a.csv", "text\nx\ny,z,w\n"),
        {},
        "1 field separated by commas, as in line 1 of a.csv, got 3 in line 3",
    ),
    "broken jsonl": (
        lambda: write("a.jsonl", '{"text": "a"}\n{"text":\n'),
        {},
        r"JSON object such as .* in line 2 of a\.jsonl, got broken JSON",
    ),
    "files of two kinds": (
        lambda: [write("a.csv", "text\nx\n"), write("a.txt", "x")],
        {},
        "files of one kind, got csv, text",
    ),
    "loading script": (
        script_set,
        {},
        r'got scripted, which has a loading script: pass revision="refs/convert/parquet"',
    ),
    "not on the Hub": (
        lambda: "owner/no-such-set",
        {},
        "data set on the Hub, got owner/no-such-set: .*; check the spelling, the network and HF_HUB_OFFLINE",
    ),
    "unknown configuration": (
        configured_set,
        {"configuration": "c"},
        "configuration among 'a', 'b', got 'c'",
    ),
    "no configuration": (configured_set, {}, "configuration among 'a', 'b', got None"),
    "folder without data": (
        lambda: write("set/train.en", ["a"]) and "set",
        {},
        r"files in set, found none: give the files or a glob",
    ),
    "unknown split": (
        lambda: hub_like(train=["a"], test=["b"]),
        {"validation": "tset"},
        "validation to be a file or one of the splits train, test, got 'tset'",
    ),
    "unknown split of train": (
        lambda: hub_like(train=["a"], test=["b"]),
        {"split": "all"},
        "split 'all' in set, got train, test",
    ),
    "label unknown in train": (
        lambda: write("a.csv", "text,label\nx,1\n"),
        {"test": Dataset.from_dict({"text": ["x"], "label": ["2"]})},
        r"labels of test to occur in train \(1\), got '2'",
    ),
    "share of a stream": (
        lambda: write("a.txt", LINES),
        {"streaming": True, "test_size": 0.1},
        "test_size to be a number of rows when streaming, got 0.1",
    ),
    "share above one": (
        lambda: write("a.txt", LINES),
        {"test_size": 1.5},
        "test_size: expected a valid integer or less than 1, got 1.5",
    ),
    "stream without streaming": (
        lambda: Dataset.from_dict({"text": ["a"]}).to_iterable_dataset(),
        {},
        "pass streaming=True",
    ),
    "empty stream": (lambda: write("a.txt", " \n"), {"streaming": True}, "rows with text, got none in train"),
    "no source": (lambda: 3, {}, "expected a Hub name, file, .* got 3"),
    "sizes": (lambda: "grammar", {"sizes": (3, 4)}, r"sizes: .*, got \(3, 4\)"),
    "sizes and files": (lambda: "grammar", {"test": "a.txt"}, "expected sizes, not validation or test"),
    "language": (lambda: "grammar", {"language": "fr"}, "language: expected 'en' or 'de', got 'fr'"),
    "maximum": (
        lambda: "grammar",
        {"maximum_train": 0},
        "maximum_train: expected greater than or equal to 1, got 0",
    ),
    "seed": (lambda: "grammar", {"seed": -1}, "seed: expected greater than or equal to 0, got -1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_get_one_clear_line(mistake, capfd):
    make, options, message = MISTAKES[mistake]
    source = make()
    capfd.readouterr()
    with pytest.raises(UserError, match=message) as error:
        load_corpus(source, **options)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


# ---- real corpora


@pytest.mark.slow
@needs("ptb", "multi30k", "multi30k_captions", "r8", "20ng")
@pytest.mark.parametrize(
    ("train", "options", "rows"),
    [
        (f"{DATA}/ptb", {}, (42_068, 3_370, 3_761)),
        (
            {"source": f"{DATA}/multi30k/train.en", "target": f"{DATA}/multi30k/train.de"},
            {"test_size": 1, "validation_size": 1},
            (28_998, 1, 1),
        ),
        (f"{DATA}/multi30k_captions/train.*.en", {}, (135_000, 5_000, 5_000)),
        (
            f"{DATA}/r8/train.txt",
            {"test": f"{DATA}/r8/test.txt", "columns": {"label": 0, "text": 1}},
            (5_211, 274, 2_189),
        ),
        (f"{DATA}/20ng/train.jsonl", {"test": f"{DATA}/20ng/test.jsonl"}, (10_749, 565, 7_532)),
    ],
)
def test_real_corpora(train, options, rows):
    corpus = load_corpus(train, **options)
    assert tuple(corpus[split].num_rows for split in ("train", "validation", "test")) == rows
