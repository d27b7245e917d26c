"""Only tables know the kinds of model, and functions and classes are short enough to read."""

import ast
import re
from pathlib import Path
from statistics import median

import pytest

import textvae

ROOT = Path(textvae.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
FACES = {"text_vae.py", "translator.py", "documents.py"}  # each is the interface of one kind
GENERIC = [
    path
    for folder in ("evaluation", "inference", "training", "interfaces", "commands", "text")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not (folder == "interfaces" and path.name in FACES)
]
KIND_BRANCHES = re.compile(
    r"isinstance\([^()]*Model\b|issubclass\([^()]*Model\b|\bis_conditional\b|\bconditional\s*[:=]"
    r"|\bconfig(?:_class)?\s+(?:is\b|==|in\b)|Seq2SeqVAE\w+|model_type\s*=="
)


def functions(path):
    return [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def length(node):
    return node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", GENERIC, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_asks_for_the_kind_of_model(path):
    code = "\n".join(line.split("#")[0] for line in path.read_text(encoding="utf-8").splitlines())
    assert not KIND_BRANCHES.findall(code)


@pytest.mark.parametrize(
    "line",
    [
        "if isinstance(model, Seq2SeqVAEModel):",
        "if config is TextVAEConfig:",
        "if recipe.config == TextVAEConfig:",
        "if is_conditional(run):",
        'if model_type == "textvae":',
    ],
)
def test_branches_on_the_kind_are_found(line):
    assert KIND_BRANCHES.search(line)


def test_functions_are_short():
    lengths = [length(node) for path in FILES for node in functions(path)]
    assert median(lengths) <= 8


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_room_is_too_large_to_read(path):
    """Docstrings are counted."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    limits = {ast.FunctionDef: 60, ast.AsyncFunctionDef: 60, ast.ClassDef: 300}
    too_long = {
        node.name: length(node)
        for node in ast.walk(tree)
        if type(node) in limits and length(node) > limits[type(node)]
    }
    assert not too_long
