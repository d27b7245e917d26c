"""The table of mutants does not rot: each can be applied, and is another program."""

import ast
from pathlib import Path

import mutants
import pytest

FILES = sorted({mutant.file for mutant in mutants.MUTANTS})


@pytest.mark.parametrize("file", FILES)
def test_each_mutant_of_a_file_replaces_one_snippet_and_parses(file):
    correct = ast.dump(ast.parse((mutants.ROOT / "textvae" / file).read_text(encoding="utf-8")))
    for mutant in mutants.MUTANTS:
        if mutant.file == file:
            assert ast.dump(ast.parse(mutant.applied())) != correct, mutant


def test_the_tests_of_each_mutant_exist():
    for mutant in mutants.MUTANTS:
        assert mutant.tests, mutant
        assert all((Path(__file__).parent / test).is_file() for test in mutant.tests), mutant


def test_no_mutant_is_listed_twice():
    assert len({mutant[:3] for mutant in mutants.MUTANTS}) == len(mutants.MUTANTS) >= 60


@pytest.mark.parametrize("original", ["there is no such formula", "return "])
def test_a_snippet_that_does_not_occur_once_is_an_error(original):
    with pytest.raises(ValueError, match="expected the snippet once, found it"):
        mutants.Mutant("objectives/schedules.py", original, "", ()).applied()
