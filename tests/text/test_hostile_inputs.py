"""Text in any form is read correctly or refused in one line: tables of cases, each with its exact answer."""

import base64
import csv
import gzip
import io
import json
import math
import os
import random
import sys
import threading
from itertools import chain
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, load_dataset
from pyarrow import parquet

from textvae.support.errors import UserError
from textvae.text import chunks as chunking
from textvae.text.blanks import pattern
from textvae.text.chunks import chunks
from textvae.text.corpus import load_corpus
from textvae.text.given import as_list, each_text
from textvae.text.lines import lines_of
from textvae.text.reader import blaming_the_cache
from textvae.text.tables import csv_rows, features_of, json_rows
from textvae.text.tokenizer import PART, train_tokenizer

pytestmark = pytest.mark.usefixtures("apart")

SENTENCES = ["a man walks home.", "two dogs sleep <b>here</b>.", "die Frau geht über die Straße."]


def write(name, content):
    """A file with this content, gzipped if its name says so; returns its name."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    content = content.encode() if isinstance(content, str) else content
    Path(name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return name


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def one_line(error):
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("expected ")


# ---- strings, in anything that holds them

TEXTS = ["one", "zwö", "3"]
TABLE = Dataset.from_dict({"label": [0, 1, 2], "text": TEXTS})
HOLDERS = {
    "list": TEXTS,
    "tuple": tuple(TEXTS),
    "array": np.array(TEXTS),
    "array of objects": np.array(TEXTS, dtype=object),
    "structured array": np.array([(text, 1) for text in TEXTS], dtype=[("text", "U9"), ("n", "i4")]),
    "Series with other numbers": pd.Series(TEXTS, index=[2, 0, 1]),
    "filtered Series": pd.Series(["x", *TEXTS]).iloc[1:],
    "categorical Series": pd.Series(TEXTS, dtype="category"),
    "Arrow-backed Series": pd.Series(TEXTS, dtype="string[pyarrow]"),
    "Index": pd.Index(TEXTS),
    "DataFrame": pd.DataFrame({"id": [1, 2, 3], "text": TEXTS}, index=[2, 0, 1]),
    "DataFrame of one column": pd.DataFrame({"title": TEXTS}),
    "dict of columns": {"label": [0, 1, 2], "sentence": TEXTS},
    "dict of arrays": {"text": np.array(TEXTS), "id": np.arange(3)},
    "keys": dict.fromkeys(TEXTS).keys(),
    "Dataset": TABLE,
    "Dataset as arrays": TABLE.with_format("numpy"),
    "column": TABLE["text"],
    "stream": TABLE.to_iterable_dataset(),
    "filtered stream": TABLE.to_iterable_dataset().filter(lambda row: True),
    "the only split": DatasetDict(train=TABLE),
    "Arrow table": pa.table({"id": [1, 2, 3], "text": TEXTS}),
    "Arrow array": pa.array(TEXTS),
    "large Arrow array": pa.array(TEXTS, pa.large_string()),
    "chunked Arrow array": pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
    "Arrow batch": pa.record_batch({"text": TEXTS}),
    "list of rows": [{"text": text, "id": 1} for text in TEXTS],
    "list of batches": [{"text": TEXTS[:2], "id": [1, 2]}, {"text": TEXTS[2:]}],
    "list of tables": [pa.table({"text": TEXTS[:2]}), pd.DataFrame({"text": TEXTS[2:]})],
    "row": {"text": TEXTS, "length": 3},
}
ONCE = {  # can be read only once
    "generator": lambda: (text for text in TEXTS),
    "map": lambda: map(str, TEXTS),
    "generator of rows": lambda: ({"text": text} for text in TEXTS),
    "reader of batches": lambda: pa.table({"text": TEXTS}).to_reader(),
    "text file": lambda: io.StringIO("\n".join(TEXTS)),
    "text file with carriage returns": lambda: io.StringIO("".join(f"{text}\r\n" for text in TEXTS)),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_strings_come_in_their_order(name):
    assert as_list(HOLDERS[name]) == TEXTS


@pytest.mark.parametrize("name", ONCE)
def test_strings_that_come_once(name):
    assert list(each_text(ONCE[name]())) == TEXTS


@pytest.mark.parametrize("given", [[], (), np.array([], dtype=str), pd.Series([], dtype=str), {"text": []}])
def test_nothing_is_no_text(given):
    assert as_list(given) == []


def test_a_string_is_one_text_and_a_row_too():
    assert as_list("one") == as_list({"text": "one", "id": 3}) == ["one"]
    assert as_list(np.str_("one")) == ["one"]


UNREADABLE = {
    "bytes": (b"one", r"strings, got bytes: decode them"),
    "bytes in a list": (["one", b"two"], "strings, got bytes at place 1: decode them"),
    "bytearray": (bytearray(b"one"), "strings, got bytes: decode"),
    "array of bytes": (np.array([b"one"]), "strings, got bytes at place 0"),
    "binary Arrow array": (pa.array([b"one"]), "strings, got bytes at place 0"),
    "binary file": (io.BytesIO(b"one\n"), "strings, got bytes at place 0"),
    "set": ({"one"}, "texts in an order, got a set"),
    "frozenset": (frozenset(["one"]), "texts in an order, got a set"),
    "path": (Path("a.txt"), r"texts, got the path a\.txt: read the file"),
    "None": (None, r"strings, got None \(NoneType\): leave it out"),
    "number": (5, r"strings, got 5 \(int\)"),
    "None in a list": (["one", None], r"strings, got None \(NoneType\) at place 1"),
    "number in a list": (["one", 2], r"strings, got 2 \(int\) at place 1"),
    "NaN in a Series": (pd.Series(["one", None]), r"strings, got .* at place 1"),
    "NA in a Series": (pd.Series(["one", pd.NA], dtype="object"), r"strings, got <NA> .* at place 1"),
    "null in an Arrow array": (pa.array(["one", None]), r"strings, got None \(NoneType\) at place 1"),
    "list in a list": ([["one"]], r"strings, got \['one'\] \(list\) at place 0"),
    "matrix": (np.zeros((3, 4)), r"strings, got array\(\[.*\]\) \(ndarray\) at place 0"),
    "matrix of strings": (np.array([["one"], ["two"]]), r"strings, got array\(.* at place 0"),
    "array without a dimension": (np.array("one"), r"strings, got array\('one', .*\) \(ndarray\)"),
    "function": (len, "strings, got <built-in function len>"),
    "splits": (
        DatasetDict(train=TABLE, test=TABLE),
        r"a table with a column text, got a DatasetDict with train, test: take one .* given\['train'\]",
    ),
    "columns without text": ({"a": ["x"], "b": ["y"]}, r"got a dict with a, b: take .* given\['a'\]"),
    "table without text": (pa.table({"a": ["x"], "b": ["y"]}), "got a Table with a, b: take one of them"),
    "column of numbers": (pd.DataFrame({"a": [1]}), r"strings, got 1 \(int\) at place 0"),
    "no columns": ({}, "got a dict with no columns: give one with texts"),
    "row with None": ([{"text": "one"}, {"text": None}], r"strings, got None \(NoneType\) at place 1"),
    "row of bytes": ([{"text": b"one"}], "strings, got bytes at place 0"),
    "half a character": (
        ["one", "a \ud83d b"],
        r"half of a surrogate pair, U\+D83D, in 'a \\ud83d b' at place 1",
    ),
    "other half": ("\ude00", r"half of a surrogate pair, U\+DE00, in '\\ude00': fix"),
    "latin-1 argument": (
        "caf\udce9",
        r"the byte 0xe9, which is not UTF-8, in 'caf\\udce9': fix its encoding",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_text_is_named(name):
    given, message = UNREADABLE[name]
    with pytest.raises(UserError, match=message) as error:
        as_list(given)
    one_line(error)


def test_characters_beyond_the_first_plane_are_whole():
    assert as_list(["👩\u200d👩", "\ufeff\u2028\x00"]) == ["👩\u200d👩", "\ufeff\u2028\x00"]


# ---- CSV and TSV

GOOD_TABLES = {
    "quotes": ("a.csv", 'text,label\n"Hello, friend",x\nbye,y\n', [("Hello, friend", "x"), ("bye", "y")]),
    "quote inside": ("a.csv", 'text,label\n"say ""hi""",x\n', [('say "hi"', "x")]),
    "line break inside": ("a.csv", 'text,label\n"one\ntwo",x\nbye,y\n', [("one\ntwo", "x"), ("bye", "y")]),
    "carriage returns": ("a.csv", "text,label\r\none,x\r\ntwo,y\r\n", [("one", "x"), ("two", "y")]),
    "old line ends": ("a.csv", "text,label\rone,x\rtwo,y\r", [("one", "x"), ("two", "y")]),
    "no end of line": ("a.csv", "text,label\none,x", [("one", "x")]),
    "blank lines": ("a.csv", "\n\ntext,label\n\none,x\n  \ntwo,y\n\n", [("one", "x"), ("two", "y")]),
    "byte order mark": ("a.csv", "\ufefftext,label\none,x\n", [("one", "x")]),
    "semicolons": ("a.csv", "text;label\nHello, friend;x\n", [("Hello, friend", "x")]),
    "tabs in a CSV": ("a.csv", "text\tlabel\nHello, friend\tx\n", [("Hello, friend", "x")]),
    "spaces around": ("a.csv", "text,label\n one , x\n", [("one", "x")]),
    "words for nothing": ("a.csv", "text,label\nNA,null\nnan,None\n", [("NA", "null"), ("nan", "None")]),
    "numbers": ("a.csv", "text,label\n1984,007\n1e3,1.0\n", [("1984", "007"), ("1e3", "1.0")]),
    "comma behind all rows": ("a.csv", "text,label,\none,x,\n", [("one", "x")]),
    "unwanted empty names": ("a.csv", ",text,label\n0,one,x\n", [("one", "x")]),
    "missing label": ("a.csv", "text,label\none,\ntwo,y\n", [("one", None), ("two", "y")]),
    "missing text": ("a.csv", "text,label\n,x\ntwo,y\n", [("two", "y")]),
    "long cell": ("a.csv", f"text,label\n{'word ' * 40_000},x\n", [(("word " * 40_000).strip(), "x")]),
    "long cell first": ("a.tsv", f"label\ttext\nx\t{'w' * 200_000}\n", [("w" * 200_000, "x")]),
    "quotes in a TSV": (
        "a.tsv",
        'text\tlabel\n"So, to say\tx\nbye"\ty\n',
        [('"So, to say', "x"), ('bye"', "y")],
    ),
    "gzip": ("a.csv.gz", "text,label\none,x\n", [("one", "x")]),
    "capitals in the name": ("A.CSV", "text,label\none,x\n", [("one", "x")]),
    "other columns": (
        "a.csv",
        'id,text,label\n1,one,x\n2,"two, three",y\n',
        [("one", "x"), ("two, three", "y")],
    ),
}


def pairs_of(rows):
    return [(row["text"], row["label"]) for row in rows]


@pytest.mark.parametrize("name", GOOD_TABLES)
def test_tables_are_read_right(name):
    file, content, expected = GOOD_TABLES[name]
    write(file, content)
    stored = load_corpus(file, file, file)["train"]
    names = stored.features["label"].names
    found = [(text, None if label is None else names[label]) for text, label in pairs_of(stored)]
    assert found == expected
    assert pairs_of(load_corpus(file, file, file, streaming=True)["train"]) == expected


BAD_TABLES = {
    "comma in the first row": (
        "a.csv",
        "text,label\nHello, friend,x\nbye,y\n",
        "2 fields .* line 1 .* got 3 in line 2",
    ),
    "comma in the second": (
        "a.csv",
        "text,label\nbye,y\nHello, friend,x\n",
        "2 fields .* line 1 .* got 3 in line 3",
    ),
    "comma behind the rows": ("a.csv", "text,label\none,x,\ntwo,y,\n", "2 fields .* got 3 in line 2"),
    "comma in all rows": ("a.csv", "text,label\na, b,x\nc, d,y\n", "2 fields .* got 3 in line 2"),
    "tab in the first row": (
        "a.tsv",
        "text\tlabel\na\tb\tx\nc\ty\n",
        "2 fields separated by tabs, .* got 3 in line 2",
    ),
    "comment above": (
        "a.csv",
        "# by a tool\ntext,label\none,x\n",
        "1 field separated by commas, .* got 2 in line 2",
    ),
    "title above": ("a.csv", "My table\n\ntext,label\none,x\n", "1 field .* got 2 in line 3"),
    "short row": ("a.csv", "text,label\none\ntwo,y\n", "2 fields .* got 1 in line 2"),
    "line break in a TSV": (
        "a.tsv",
        "label\ttext\nx\tone\ntwo\ny\tbye\n",
        "2 fields separated by tabs.* got 1 in line 3",
    ),
    "ragged after a quoted line break": (
        "a.csv",
        'text,label\n"a\nb",x\nc,d,y\n',
        "2 fields .* got 3 in line 4",
    ),
    "late": ("a.csv", "text,label\n" + "a,x\n" * 20_000 + "a,b,x\n", "2 fields .* got 3 in line 20002"),
    "open quote": (
        "a.csv",
        'text,label\none,x\n"two,y\nthree,z\n',
        r"the quote in line 3 of a\.csv to be closed",
    ),
    "name twice": ("a.csv", "text,text,label\na,b,x\n", "different names, got 'text' twice in line 1"),
    "commas in a TSV": (
        "a.tsv",
        "text,label\none,x\n",
        "fields separated by tabs in a.tsv, got the header 'text,label'",
    ),
    "latin-1": ("a.csv", b"text,label\nok,x\ncaf\xe9,y\n", "UTF-8, got byte 0xe9 in line 3"),
    "UTF-16": ("a.csv", "text,label\none,x\n".encode("utf-16"), "got a.csv, binary or UTF-16"),
    "a header alone": ("a.csv", "text,label\n", "rows with text, got none in"),
    "blank": ("a.csv", "\n \n", r"rows with text, got none in a\.csv"),
    "blank texts": ("a.csv", "text,label\n ,x\n", "rows with text, got none in train"),
    "gzip cut short": ("a.csv.gz", None, r"readable file, got a\.csv\.gz"),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_fault_in_a_table_is_named_before_the_first_row(name, streaming):
    file, content, message = BAD_TABLES[name]
    if content is None:
        whole = gzip.compress(b"text,label\n" + b"one,x\n" * 10_000)
        Path(file).write_bytes(whole[:-20])
    else:
        write(file, content)
    with pytest.raises(UserError, match=message) as error:
        load_corpus(file, file, file, streaming=streaming)
    one_line(error)


def test_the_limit_of_cells_stays_as_it_was():
    before = csv.field_size_limit()
    list(csv_rows(write("a.csv", f"text\n{'w' * 200_000}\n"), numbered=False))
    assert csv.field_size_limit() == before


def test_columns_without_a_header_have_numbers():
    write("a.txt", f"1\t{'word ' * 40_000}\n2\tb\n")
    train = load_corpus("a.txt", "a.txt", "a.txt", columns={"text": 1, "label": 0})["train"]
    assert [len(text) for text in train["text"]] == [199_999, 1]
    write("b.csv", "Hello; friend,x\nbye,y\n")
    train = load_corpus("b.csv", "b.csv", "b.csv", columns={"text": 0, "label": 1})["train"]
    assert train["text"][:] == ["Hello; friend", "bye"]
    write("c.txt", "1\ta\n2\tb\tc\n")
    with pytest.raises(
        UserError, match=r"2 fields separated by tabs, as in line 1 of c\.txt, got 3 in line 2"
    ):
        load_corpus("c.txt", columns={"text": 1, "label": 0})


def test_several_tables_are_read_by_the_names_of_their_columns():
    write("a.csv", "text,label,id\none,x,1\n")
    write("b.csv", "label,text\ny,two\n")
    train = load_corpus(["a.csv", "b.csv"], "a.csv", "a.csv", columns={"text": "text"})["train"]
    assert train["text"][:] == ["one", "two"]
    assert [row["id"] for row in load_dataset_rows(["a.csv", "b.csv"])] == ["1", None]


def load_dataset_rows(files):
    from textvae.text.tables import rows

    return list(rows(files, features_of(files, numbered=False), numbered=False))


def test_a_folder_is_read_as_its_files_are():
    write("set/train.csv", "text,label\nNA,007\n")
    write("set/test.csv", "text,label\nHello, friend,x\n")
    with pytest.raises(UserError, match=r"2 fields .* line 1 of set/test\.csv, got 3 in line 2"):
        load_corpus("set")
    write("set/test.csv", "text,label\nbye,007\n")
    corpus = load_corpus("set", validation="test")
    assert (corpus["train"]["text"][:], corpus["test"]["text"][:]) == (["NA"], ["bye"])
    assert corpus["train"].features["label"].names == ["007"]


def test_a_folder_whose_card_says_how_is_read_so():
    write("set/a.csv", "text|label\none|x\n")
    write("set/README.md", "---\nconfigs:\n- config_name: default\n  data_files: a.csv\n  sep: '|'\n---\n")
    assert load_corpus("set", "set", "set")["train"]["text"][:] == ["one"]


# ---- JSON

NESTED = {"version": "1.1", "data": [{"text": "a"}, {"text": "b"}]}
GOOD_JSON = {
    "lines": ("a.jsonl", jsonl({"text": "a"}, {"text": "b"}), ["a", "b"]),
    "list": ("a.json", json.dumps([{"text": "a"}, {"text": "b"}]), ["a", "b"]),
    "list on several lines": ("a.json", json.dumps([{"text": "a"}, {"text": "b"}], indent=1), ["a", "b"]),
    "list of strings": ("a.json", json.dumps(["a", "b"]), ["a", "b"]),
    "object on several lines": ("a.json", json.dumps({"text": "a"}, indent=1), ["a"]),
    "one row with a list inside": ("a.jsonl", jsonl({"text": "a", "entities": [{"start": 0}]}), ["a"]),
    "blank lines": ("a.jsonl", '\n{"text": "a"}\n\n  \n{"text": "b"}', ["a", "b"]),
    "byte order mark": ("a.jsonl", "\ufeff" + jsonl({"text": "a"}), ["a"]),
    "line ends": ("a.jsonl", '{"text": "a"}\r\n{"text": "b"}\r\n', ["a", "b"]),
    "separators inside": (
        "a.jsonl",
        json.dumps({"text": "a\u2028b\x85c"}, ensure_ascii=False),
        ["a\u2028b\x85c"],
    ),
    "escapes": ("a.jsonl", '{"text": "\\u00e9 \\ud83d\\ude00"}', ["é 😀"]),
    "late key": ("a.jsonl", jsonl(*[{"text": "x" * 99}] * 3_000, {"text": "b", "note": "q"}), 3_001),
    "late value": (
        "a.jsonl",
        jsonl(*[{"text": "x", "note": None}] * 3_000, {"text": "b", "note": "q"}),
        3_001,
    ),
    "other column changes": ("a.jsonl", jsonl({"text": "a", "id": 1}, {"text": "b", "id": "x"}), ["a", "b"]),
    "other column is nested": (
        "a.jsonl",
        jsonl({"text": "a", "n": 1}, {"text": "b", "n": {"m": [1]}}),
        ["a", "b"],
    ),
    "late change": ("a.jsonl", jsonl(*[{"text": "a", "id": 1}] * 2_000, {"text": "a", "id": [1]}), 2_001),
    "structs of other keys": (
        "a.jsonl",
        jsonl({"text": "a", "m": {"x": 1}}, {"text": "b", "m": {"y": "z"}}),
        ["a", "b"],
    ),
    "structs of other types": (
        "a.jsonl",
        jsonl({"text": "a", "m": {"x": 1}}, {"text": "b", "m": {"x": "z"}}),
        ["a", "b"],
    ),
    "empty structs": ("a.jsonl", jsonl({"text": "a", "m": {}}, {"text": "b", "m": {}}), ["a", "b"]),
    "huge numbers": ("a.jsonl", jsonl({"text": "a", "n": 2**70}, {"text": "b", "n": 1}), ["a", "b"]),
    "numbers among texts": ("a.jsonl", jsonl({"text": 1984}, {"text": "b"}), ["1984", "b"]),
    "missing text": ("a.jsonl", jsonl({"text": "a"}, {"id": 1}, {"text": None}, {"text": "b"}), ["a", "b"]),
    "gzip": ("a.jsonl.gz", jsonl({"text": "a"}), ["a"]),
    "ndjson": ("a.ndjson", jsonl({"text": "a"}), ["a"]),
    "long": ("a.jsonl", jsonl({"text": "w " * 500_000 + "w"}), ["w " * 500_000 + "w"]),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", GOOD_JSON)
def test_json_is_read_right(name, streaming):
    file, content, expected = GOOD_JSON[name]
    write(file, content)
    train = load_corpus(file, file, file, columns={"text": "text"}, streaming=streaming)["train"]
    found = [row["text"] for row in train]
    assert (found if isinstance(expected, list) else len(found)) == expected


LABELS = {
    "NaN": ([math.nan, 1.0, 2.0], [None, "1", "2"]),
    "null": ([None, "x", "x"], [None, "x", "x"]),
    "several kinds": ([1, "b", True], ["1", "b", "true"]),
    "whole and broken": ([1, 2.5, 3], ["1", "2.5", "3"]),
    "booleans": ([True, False, True], ["true", "false", "true"]),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_json(name):
    labels, expected = LABELS[name]
    file = write("a.jsonl", jsonl(*({"text": "a", "label": label} for label in labels)))
    train = load_corpus(file, file, file)["train"]
    names = train.features["label"].names
    assert [None if label is None else names[label] for label in train["label"]] == expected


def test_nan_is_no_label_in_a_stream_and_a_parquet_file():
    file = write("a.jsonl", jsonl({"text": "a", "label": math.nan}, {"text": "b", "label": 1.5}))
    assert [row["label"] for row in load_corpus(file, file, file, streaming=True)["train"]] == [None, 1.5]
    pd.DataFrame({"text": ["a", "b"], "label": [math.nan, 1.0]}).to_parquet("a.parquet")
    train = load_corpus("a.parquet", "a.parquet", "a.parquet")["train"]
    assert (train.features["label"], train["label"][:]) == (ClassLabel(names=["1"]), [None, 0])


BAD_JSON = {
    "cut": (
        "a.jsonl",
        '{"text": "a"}\n{"text": "b',
        r"JSON object .* in line 2 of a\.jsonl, got broken JSON",
    ),
    "cut first": ("a.jsonl", '{"text": "a', r"in line 1 of a\.jsonl, got broken JSON \(Unterminated string"),
    "list cut": ("a.json", '[{"text": "a"},\n{"text"', r"in line 1 of a\.json, got broken JSON"),
    "late": ("a.jsonl", '{"text": "a"}\n' * 9_999 + "{", "in line 10000 of"),
    "strings": ("a.jsonl", '"one"\n"two"\n', r"in line 1 of a\.jsonl, got a string"),
    "string later": ("a.jsonl", '{"text": "a"}\n"two"\n', r"in line 2 of a\.jsonl, got a string"),
    "numbers": ("a.jsonl", "1\n2\n", "got a number"),
    "null": ("a.json", "null", "got null"),
    "lists": ("a.jsonl", '["a"]\n["b"]\n', "got a list"),
    "lists in a list": ("a.json", '[["a"], ["b"]]', r"in row 1 of a\.json, got a list"),
    "CSV inside": ("a.json", "text,label\na,x\n", "in line 1 of a.json, got broken JSON"),
    "deep": ("a.json", "[" * 100_000, "got broken JSON"),
    "half a character": (
        "a.jsonl",
        '{"text": "a"}\n{"text": "a \\ud83d b"}\n',
        "line 2 of a.jsonl, got half of a surrog",
    ),
    "half in a list": (
        "a.json",
        '[{"text": "a"}, {"text": "\\ude00"}]',
        "row 2 of a.json, got half of a surrogate",
    ),
    "rows inside": (
        "a.json",
        json.dumps(NESTED),
        r"one object with rows in 'data': extract these, e.g. jq -c '\.data\[\]' a\.json",
    ),
    "rows inside, indented": ("a.json", json.dumps(NESTED, indent=1), "one object with rows in 'data'"),
    "columns": (
        "a.json",
        json.dumps({"text": ["a", "b"]}),
        "column 'text' in train, got List.*which cannot be text",
    ),
    "text that is a list, too": (
        "a.jsonl",
        jsonl({"text": "a"}, {"text": ["b"]}),
        "'text' in train, got bytes, or values",
    ),
    "empty list": ("a.json", "[]", r"rows with text, got none in a\.json"),
    "empty objects": ("a.jsonl", "{}\n{}\n", r"rows with text, got none in a\.jsonl"),
    "latin-1": (
        "a.jsonl",
        b'{"text": "a"}\n{"text": "\xe9"}\n',
        r"UTF-8, got byte 0xe9 in line 2 of a\.jsonl",
    ),
    "surrogates in UTF-8": (
        "a.jsonl",
        b'{"text": "\xed\xa0\xbd"}\n',
        r"UTF-8, got byte 0xed in line 1 of a\.jsonl",
    ),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", BAD_JSON)
def test_a_fault_in_json_is_named_before_the_first_row(name, streaming):
    file, content, message = BAD_JSON[name]
    write(file, content)
    with pytest.raises(UserError, match=message) as error:
        load_corpus(file, file, file, columns={"text": "text"}, streaming=streaming)
    one_line(error)


def test_files_of_other_columns_are_one_corpus():
    write("a.jsonl", jsonl({"text": "a", "id": 1}))
    write("b.jsonl", jsonl({"text": "b", "url": "u"}, {"url": "v", "text": "c"}))
    files = ["a.jsonl", "b.jsonl"]
    assert load_corpus(files, files, files, columns={"text": "text"})["train"]["text"][:] == ["a", "b", "c"]
    assert list(json_rows("b.jsonl")) == [{"text": "b", "url": "u"}, {"url": "v", "text": "c"}]


def test_a_changed_table_is_read_again():
    write("a.jsonl", jsonl({"text": "old"}))
    assert load_corpus("a.jsonl", "a.jsonl", "a.jsonl")["train"]["text"][:] == ["old"]
    write("a.jsonl", jsonl({"text": "new"}))
    os.utime("a.jsonl", (1, 1))
    assert load_corpus("a.jsonl", "a.jsonl", "a.jsonl")["train"]["text"][:] == ["new"]


def test_streamed_files_are_shards():
    """Several workers share the files, and read each row once."""
    files = [write(f"{name}.csv", f"text\n{name}\n") for name in "abc"]
    rows = load_corpus(files, files, files, streaming=True)["train"]
    assert rows.num_shards == 3
    assert sorted(row["text"] for part in range(3) for row in rows.shard(3, part)) == ["a", "b", "c"]


# ---- Parquet


@pytest.mark.parametrize("streaming", [False, True])
def test_parquet_files_without_rows(streaming):
    parquet.write_table(pa.table({"text": pa.array([], pa.string())}), "none.parquet")
    with pytest.raises(UserError, match=r"rows with text, got none in none\.parquet") as error:
        load_corpus("none.parquet", streaming=streaming)
    one_line(error)
    parquet.write_table(pa.table({"text": ["a"]}), "some.parquet")
    files = ["none.parquet", "some.parquet"]
    train = load_corpus(files, files, files, streaming=streaming)["train"]
    assert [row["text"] for row in train] == ["a"]


def test_parquet_files_of_other_columns():
    parquet.write_table(pa.table({"text": ["a"], "id": [1]}), "a.parquet")
    parquet.write_table(pa.table({"text": ["a"], "url": ["u"]}), "b.parquet")
    with pytest.raises(
        UserError, match=r"same columns in a\.parquet and b\.parquet, got id, url in only one of them"
    ):
        load_corpus(["a.parquet", "b.parquet"])


def test_bytes_in_parquet_are_no_text():
    parquet.write_table(pa.table({"text": [b"a"]}), "a.parquet")
    with pytest.raises(UserError, match="got bytes, or values of several kinds, which cannot be text"):
        load_corpus("a.parquet", columns={"text": "text"})


# ---- lines, pipes and standard input

LINES = b"one\n\n two \nthree"
EXPECTED = ["one", "", "two", "three"]


def piped(content):
    """The path of a pipe through which the content comes."""
    reading, writing = os.pipe()

    def feed():
        with open(writing, "wb") as pipe:
            pipe.write(content)

    threading.Thread(target=feed, daemon=True).start()
    return f"/dev/fd/{reading}"


@pytest.fixture
def stdin(monkeypatch):
    def given(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return "-"

    return given


SOURCES = ["file", "gzip", "gzip without its name", "pipe", "gzip through a pipe", "standard input", "~"]


@pytest.fixture
def source(stdin, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    def made(kind, content=LINES):
        match kind:
            case "file" | "~":
                return ("~/" if kind == "~" else "") + write("a.txt", content)
            case "gzip":
                return write("a.txt.gz", content)
            case "gzip without its name":
                return write("b", gzip.compress(content))
            case "pipe":
                return piped(content)
            case "gzip through a pipe":
                return piped(gzip.compress(content))
        return stdin(content)

    return made


@pytest.mark.parametrize("kind", SOURCES)
def test_lines_are_those_of_the_file_blank_ones_counted(source, kind):
    assert list(lines_of(source(kind))) == EXPECTED


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_corpus_comes_from_wherever_lines_do(source, kind, streaming):
    """Three splits read it, although a pipe can be read only once."""
    file = source(kind)
    corpus = load_corpus(file, file, file, streaming=streaming)
    for split in corpus.values():
        assert [row["text"] for row in split] == ["one", "two", "three"]


@pytest.mark.parametrize("kind", ["pipe", "standard input"])
def test_a_pipe_is_called_by_its_own_name(source, kind):
    file = source(kind, b"ok\n\xff\n")
    name = "standard input" if file == "-" else file
    for read in (load_corpus, lambda file: list(lines_of(file))):
        with pytest.raises(UserError, match=f"byte 0xff in line 2 of {name}: convert") as error:
            read(file)
        one_line(error)
        file = source(kind, b"ok\n\xff\n")
        name = "standard input" if file == "-" else file


def test_pipes_side_by_side():
    pair = {"source": piped(b"a\nb\n"), "target": piped(b"x\ny\n")}
    assert list(load_corpus(pair, pair, pair)["train"]) == [
        {"source": "a", "target": "x"},
        {"source": "b", "target": "y"},
    ]


NO_LINES = {
    "missing": ("nowhere.txt", r"found nothing at nowhere\.txt"),
    "folder": (".", r"found a folder at \."),
    "latin-1": (b"a\ncaf\xe9\n", "UTF-8, got byte 0xe9 in line 2 of"),
    "UTF-16": ("a\n".encode("utf-16"), "binary or UTF-16"),
    "binary": (b"PK\3\4\0\0", "binary or UTF-16"),
    "gzip cut short": (
        gzip.compress(b"a line\n" * 10_000)[:-20],
        "readable file, got .*: Compressed file ended",
    ),
    "no gzip inside": (b"\x1f\x8bno", "readable file, got"),
}


@pytest.mark.parametrize("name", NO_LINES)
def test_what_has_no_lines_is_named(name):
    given, message = NO_LINES[name]
    file = write("a.txt", given) if isinstance(given, bytes) else given
    with pytest.raises(UserError, match=message) as error:
        list(lines_of(file))
    one_line(error)


def test_closed_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="text on standard input, found it closed"):
        list(lines_of("-"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([3], r"the path of a file, got 3 \(int\)"),
        ({"text": ["a", "b"]}, r"the path of a file, got \['a', 'b'\] \(list\)"),
        ({"text": None}, "the path of a file, got None"),
        (["a.csv", "b.json"], "found none"),
    ],
)
def test_sources_that_are_none(given, message):
    with pytest.raises(UserError, match=message) as error:
        load_corpus(given)
    one_line(error)


# ---- the cache


@pytest.mark.parametrize(
    ("raised", "is_cache"),
    [
        (lambda cache: FileNotFoundError(2, "No such file or directory", f"{cache}/x"), True),
        (lambda cache: PermissionError(13, "Permission denied", str(cache)), True),
        (lambda cache: OSError(30, "Read-only file system", str(cache.parent)), True),
        (lambda cache: OSError(28, "No space left on device"), True),
        (lambda cache: PermissionError(13, "Permission denied", "/elsewhere/a.txt"), False),
        (lambda cache: ValueError("something else"), False),
    ],
)
def test_a_cache_that_cannot_be_written_is_blamed(tmp_path, raised, is_cache):
    error = raised(tmp_path / "cache")
    expected = pytest.raises(
        UserError if is_cache else type(error),
        match=f"a writable cache, got {tmp_path}/cache: .* HF_DATASETS_CACHE" if is_cache else None,
    )
    with expected, blaming_the_cache():
        try:
            raise error
        except Exception as cause:
            if not is_cache:
                raise
            raise RuntimeError("the library failed") from cause


@pytest.mark.parametrize("file", ["a.txt", "a.jsonl"])
def test_a_corpus_is_not_blamed_for_its_cache(monkeypatch, file):
    write("a.txt", "one\ntwo\nthree\n")
    write("a.jsonl", jsonl(*[{"text": "a"}] * 3))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", Path("/proc/nope"))
    with pytest.raises(UserError, match=r"a writable cache, got /proc/nope") as error:
        load_corpus(file, file, file)
    one_line(error)


# ---- tokenizers


OPTIONS = {
    "vocabulary_size": [0, 1, 4, -5, 2**31, 300.5],
    "minimum_count": [0, -1],
    "character_coverage": [0.95, 0, -1, 1.01, math.nan],
    "kind": ["word"],
    "algorithm": ["wordpiece"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OPTIONS.items() for value in values]
)
def test_options_out_of_range_are_refused_before_a_text_is_read(name, value):
    texts = iter(SENTENCES)
    with pytest.raises(UserError, match=rf"{name}: expected .*, got .*{value}"):
        train_tokenizer(texts, **{name: value})
    assert len(list(texts)) == len(SENTENCES)


def test_options_at_their_ends_are_taken():
    tokenizer = train_tokenizer(SENTENCES, "words", vocabulary_size=5, minimum_count=1)
    assert len(tokenizer) == 5
    assert train_tokenizer(SENTENCES, character_coverage=0.98).decode([4]) == train_tokenizer(
        SENTENCES, character_coverage=1.0
    ).decode([4])


def random_characters(alphabet, count):
    return "".join(random.Random(0).choices(alphabet, k=count))


def chinese(count):
    draw = random.Random(0)
    words = [
        "".join(chr(0x4E00 + draw.randrange(99)) for _ in range(draw.choice([1, 2, 2, 3])))
        for _ in range(300)
    ]
    return "".join(words[int(draw.paretovariate(0.7)) % 300] for _ in range(count))


LONG = {
    "base64": lambda: base64.b64encode(random.Random(0).randbytes(150_000)).decode(),
    "Chinese": lambda: chinese(20_000),
    "one letter": lambda: "a" * 200_000,
    "blanks": lambda: " " * 100_000 + "a",
    "brackets": lambda: "<" * 50_000,
    "tabs": lambda: "a\t" * 50_000,
    "one long line twice": lambda: " ".join([" ".join(random_characters("abcdef", 40_000))] * 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_pieces_are_learnt_from_long_lines(name):
    """On much longer words SentencePiece's sums overflow, and on repeated lines it takes hours."""
    text = LONG[name]()
    tokenizer = train_tokenizer(
        [*SENTENCES * 20, text], vocabulary_size=400 if name in ("base64", "Chinese") else None
    )
    for given in (*SENTENCES, text[:5_000]):
        assert tokenizer.decode(tokenizer(given).input_ids) == given


def test_a_line_is_learnt_from_as_its_words_are():
    words = [f"{a}{b}" for a in ("walk", "talk", "jump") for b in ("s", "ed", "ing")]
    line = " ".join(random.Random(0).choices(words, k=2 * PART))
    one, many = (train_tokenizer(texts, algorithm="bpe") for texts in ([line], line.split()))
    assert one.get_vocab() == many.get_vocab()


def test_tokenizers_learn_from_texts_not_from_letters():
    assert train_tokenizer("abc abd", "words").get_vocab().keys() > {"abc", "abd"}
    assert train_tokenizer(TABLE, "words").get_vocab().keys() > set(TEXTS)
    with pytest.raises(UserError, match="strings, got None"):
        train_tokenizer(["a", None], "words")


# ---- chunks of long texts

PIECES = [
    " ",
    "  ",
    "\n",
    "walk",
    "the",
    "<b>",
    "Straße",
    "👩\u200d👩",
    "\u2581",
    "x.",
    '?" ',
    "\t",
    "\u3000",
    "İ",
]


@pytest.fixture(scope="module", params=["words", "bpe", "unigram", "lower"])
def tokenizer(request):
    if request.param == "words":
        return train_tokenizer(SENTENCES, "words")
    if request.param == "lower":
        return train_tokenizer(SENTENCES, lower=True)
    return train_tokenizer(SENTENCES, algorithm=request.param)


def test_segments_have_the_tokens_of_the_whole_text(tokenizer, monkeypatch):
    """This holds if each segment has a blank before a word."""
    monkeypatch.setattr(chunking, "SEGMENT", 24)
    monkeypatch.setattr(chunking, "TOGETHER", 100)
    draw = random.Random(0)
    texts = [" ".join(draw.choice(PIECES[3:9]) for _ in range(draw.randrange(40))) for _ in range(80)]
    texts += [
        "".join(f"{draw.choice(PIECES[:3])}{draw.choice(PIECES[3:5])} x" for _ in range(9)) for _ in range(50)
    ]
    whole = tokenizer(texts, add_special_tokens=False)["input_ids"]
    for length in (None, 3, 20):
        found = chunks(texts, tokenizer, length)
        assert [list(chain(*parts)) for parts in found] == whole
        assert length is None or max(len(ids) for parts in found for ids in parts) < length


def test_segments_end_where_sentences_do(monkeypatch):
    tokenizer = train_tokenizer(["ab. cd. ef. gh. ij. kl."], "words")
    text = " ".join(["ab. cd. ef."] * 40)
    expected = chunks([text], tokenizer, 8)
    monkeypatch.setattr(chunking, "SEGMENT", 30)
    assert chunks([text], tokenizer, 8) == expected


def test_a_stretch_without_a_blank_is_cut_and_kept(tokenizer, monkeypatch):
    monkeypatch.setattr(chunking, "SEGMENT", 10)
    found = chunks(["x" * 95], tokenizer, 8)[0]
    if "</s>x" not in tokenizer.get_vocab() and tokenizer.decode(tokenizer("xx").input_ids) == "xx":
        assert "".join(tokenizer.decode(ids) for ids in found).replace(" ", "") == "x" * 95


# ---- blanks


@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_a_blank_can_be_seen(tokenizer, blank):
    with pytest.raises(UserError, match="a visible blank, such as ___, got"):
        pattern("a b", tokenizer, blank)


def test_the_library_of_the_stream_is_not_ours():
    """This is why `tables` reads CSV itself: the library's reader would take the labels for texts."""
    file = write("a.csv", "text,label\nHello, friend,greeting\nbye,parting\n")
    shifted = load_dataset("csv", data_files=file, split="train")
    assert shifted["text"][:] == [" friend", "parting"]
