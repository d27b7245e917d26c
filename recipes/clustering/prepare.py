"""Convert published corpora to train.jsonl and test.jsonl, with text and label.

python recipes/clustering/prepare.py agnews FOLDER      # the CSV files of Zhang et al. and their classes.txt
python recipes/clustering/prepare.py 20ng FOLDER        # JSON lines of whole messages
python recipes/clustering/prepare.py yelp FOLDER        # one sentence on each line, in files that end in .0 and .1
python recipes/clustering/prepare.py r8 FOLDER          # lines of a label, a tabulator and a text
python recipes/clustering/prepare.py reuters FOLDER     # the SGML files of Reuters-21578: the ten largest topics
python recipes/clustering/prepare.py searchsnippets FOLDER   # texts and labels of STC2, which has no test split
"""

import argparse
import csv
import html
import json
import random
import re
from collections import Counter
from itertools import islice
from pathlib import Path

from sklearn.datasets._twenty_newsgroups import (
    strip_newsgroup_footer,
    strip_newsgroup_header,
    strip_newsgroup_quoting,
)

from textvae.support.errors import UserError
from textvae.support.files import check_folder, replacing
from textvae.support.program import program

Rows = list[dict[str, str]]


def main() -> None:
    """Read the files of a folder and write a file for each split."""
    parser = argparse.ArgumentParser(description="Convert a corpus to JSON lines with text and label.")
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("folder", type=Path, help="folder with the corpus files")
    parser.add_argument(
        "-o", "--output", type=Path, help="output folder; default: a folder with the name of the corpus"
    )
    arguments = parser.parse_args()
    output = arguments.output or Path(arguments.corpus)
    check_folder(output)
    for split, rows in CORPORA[arguments.corpus](arguments.folder).items():
        with replacing(output / f"{split}.jsonl") as partial:
            lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
            partial.write_text(lines + "\n", encoding="utf-8")
        print(f"{output / split}.jsonl: {len(rows):,} rows")


def agnews(folder: Path) -> dict[str, Rows]:
    """Join title and description to one text; drop train rows whose description is also in test."""
    classes = the_file(folder, "classes.txt").read_text(encoding="utf-8").splitlines()
    cells = {}
    for split in ("train", "test"):
        with the_file(folder, f"{split}*.csv").open(encoding="utf-8", newline="") as lines:
            # Every row begins with the number of a class, except a header.
            cells[split] = [row for row in csv.reader(lines) if row[0].isdecimal()]
    known = {description for _, _, description in cells["test"]}
    cells["train"] = [row for row in cells["train"] if row[2] not in known]
    return {
        split: [
            {"text": f"{title} {description}", "label": classes[int(number) - 1]}
            for number, title, description in rows
        ]
        for split, rows in cells.items()
    }


def newsgroups(folder: Path) -> dict[str, Rows]:
    """Strip headers, quotations and signatures as scikit-learn does, and write each message as one line."""
    return {split: stripped(the_file(folder, f"{split}.jsonl")) for split in ("train", "test")}


def stripped(file: Path) -> Rows:
    """The stripped rows of a file; rows without any remaining text are dropped."""
    rows = []
    with file.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            text = strip_newsgroup_quoting(strip_newsgroup_header(row["text"]))
            # Join the lines, because a word at the beginning of a line would be split into other pieces than elsewhere.
            rows.append({"text": " ".join(strip_newsgroup_footer(text).split()), "label": row["label"]})
    return [row for row in rows if row["text"]]


SIZES = {"test": 10_000, "validation": 10_000, "train": 100_000}
"""Sizes of the splits of yelp-short (re-split)."""


def yelp(folder: Path) -> dict[str, Rows]:
    """Pool all files, keep each sentence once, drop those with both sentiments, and split with a fixed seed."""
    sentences = {
        label: {
            line.strip()
            for file in folder.glob(f"*.{end}")
            for line in file.read_text(encoding="utf-8").split("\n")
        }
        - {""}
        for end, label in enumerate(("negative", "positive"))
    }
    ambiguous = sentences["negative"] & sentences["positive"]
    rows = [
        {"text": text, "label": label}
        for label, texts in sentences.items()
        for text in sorted(texts - ambiguous)
    ]
    if len(rows) < sum(SIZES.values()):
        raise UserError(
            f"expected {sum(SIZES.values()):,} different sentences in the files *.0 and *.1 of {folder}, found "
            f"{len(rows):,}: check the folder"
        )
    random.Random(0).shuffle(rows)
    drawn = iter(rows)
    return {split: list(islice(drawn, size)) for split, size in SIZES.items()}


def r8(folder: Path) -> dict[str, Rows]:
    """Lines of a label, a tabulator and a text."""
    return {split: tabbed(the_file(folder, f"{split}*.txt")) for split in ("train", "test")}


def tabbed(file: Path) -> Rows:
    """The rows of a file with a label and a text in each line."""
    cells = [line.split("\t", 1) for line in file.read_text(encoding="utf-8").splitlines()]
    return [{"text": text, "label": label} for label, text in cells]


STORY = re.compile(r"<REUTERS (?P<head>[^>]*)>(?P<inside>.*?)</REUTERS>", re.DOTALL)
TOPICS, TOPIC = re.compile(r"<TOPICS>(.*?)</TOPICS>", re.DOTALL), re.compile(r"<D>(.*?)</D>")
PARTS = re.compile(r"<(TITLE|BODY)>(.*?)</\1>", re.DOTALL)
LARGEST = 10


def reuters(folder: Path) -> dict[str, Rows]:
    """The ModApte split of the stories with exactly one topic, if it is one of the ten most frequent in train."""
    rows: dict[str, Rows] = {"train": [], "test": []}
    for file in sorted(folder.glob("*.sgm")):
        for story in STORY.finditer(file.read_text(encoding="latin-1")):
            split = re.search(r'LEWISSPLIT="(\w+)"', story["head"])
            section = TOPICS.search(story["inside"])
            topics = TOPIC.findall(section[1]) if section else []
            text = " ".join(
                html.unescape(" ".join(part[2] for part in PARTS.finditer(story["inside"]))).split()
            )
            if (
                'TOPICS="YES"' in story["head"]
                and split
                and split[1].lower() in rows
                and len(topics) == 1
                and text
            ):
                rows[split[1].lower()].append({"text": text, "label": topics[0]})
    largest = {label for label, _ in Counter(row["label"] for row in rows["train"]).most_common(LARGEST)}
    return {split: [row for row in found if row["label"] in largest] for split, found in rows.items()}


def searchsnippets(folder: Path) -> dict[str, Rows]:
    """Texts and labels, line by line."""
    texts = the_file(folder, "SearchSnippets.txt").read_text(encoding="utf-8-sig").splitlines()
    labels = the_file(folder, "SearchSnippets_gnd.txt").read_text(encoding="utf-8-sig").split()
    return {"train": [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]}


CORPORA = {
    "agnews": agnews,
    "20ng": newsgroups,
    "yelp": yelp,
    "r8": r8,
    "reuters": reuters,
    "searchsnippets": searchsnippets,
}
"""The function that makes the splits, for each corpus."""


def the_file(folder: Path, pattern: str) -> Path:
    """The only file of the folder that matches the pattern."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise UserError(f"expected one file {pattern} in {folder}, found {len(found)}: check the folder")
    return found[0]


if __name__ == "__main__":
    with program():
        main()
