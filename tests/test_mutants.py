"""The table of mutants does not rot: each can be applied, and is another program."""

import ast
from pathlib import Path

import mutants
import pytest


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=str)
def test_a_mutant_replaces_one_snippet_and_parses(mutant):
    correct = (mutants.ROOT / "textvae" / mutant.file).read_text(encoding="utf-8")
    assert ast.dump(ast.parse(mutant.applied())) != ast.dump(ast.parse(correct))


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=str)
def test_the_tests_of_a_mutant_exist(mutant):
    assert mutant.tests
    assert all((Path(__file__).parent / test).is_file() for test in mutant.tests)


def test_no_mutant_is_listed_twice():
    assert len({mutant[:3] for mutant in mutants.MUTANTS}) == len(mutants.MUTANTS) >= 60


@pytest.mark.parametrize("original", ["there is no such formula", "return "])
def test_a_snippet_that_does_not_occur_once_is_an_error(original):
    with pytest.raises(ValueError, match="expected the snippet once, found it"):
        mutants.Mutant("objectives/schedules.py", original, "", ()).applied()
