"""A write is whole or not there at all."""

import os
from pathlib import Path

import pytest

from textvae.files import PARTIAL_FOLDER, replacing, replacing_files_in


def test_a_file_is_replaced_only_at_the_end(tmp_path):
    file = tmp_path / "folder" / "file.json"
    with replacing(file) as partial:
        partial.write_text("old")
        assert not file.exists()
    with pytest.raises(KeyError), replacing(file) as partial:
        partial.write_text("half")
        raise KeyError
    assert file.read_text() == "old"
    assert [path.name for path in file.parent.iterdir()] == ["file.json"]
    (tmp_path / "usual").touch()
    assert file.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_files_of_a_folder_are_replaced_only_at_the_end_and_others_stay(tmp_path):
    (tmp_path / "kept").write_text("kept")
    with replacing_files_in(tmp_path, "a") as partial:
        (partial / "a").write_text("new")
        assert not (tmp_path / "a").exists()
    with pytest.raises(KeyError), replacing_files_in(tmp_path, "a") as partial:
        (partial / "a").write_text("half")
        raise KeyError
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"kept": "kept", "a": "new"}


OTHERS, LAST = ["a", "z"], "m"


def write_all(folder, content):
    with replacing_files_in(folder, LAST) as partial:
        for name in [*OTHERS, LAST]:
            (partial / name).write_text(content)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


class Killed(BaseException):
    """In place of a signal that ends the process."""


@pytest.mark.parametrize("before", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize("moves", range(3))
def test_a_kill_between_two_moves_loses_nothing_and_leaves_nothing_that_looks_whole(
    tmp_path, monkeypatch, before, moves
):
    if before:
        write_all(tmp_path, "old")
    move, moved = os.replace, []

    def fatal(source, target):
        if len(moved) == moves:
            raise Killed
        moved.append(target.name)
        move(source, target)

    monkeypatch.setattr(os, "replace", fatal)
    with pytest.raises(Killed):
        write_all(tmp_path, "new")
    assert moved == OTHERS[:moves]
    kept = dict.fromkeys(OTHERS, "old") if before else {}
    assert contents(tmp_path) == kept | dict.fromkeys(moved, "new")
    (left,) = [path for path in tmp_path.iterdir() if PARTIAL_FOLDER.fullmatch(path.name)]
    assert contents(left) == dict.fromkeys([*OTHERS[moves:], LAST], "new")
    monkeypatch.undo()
    write_all(tmp_path, "again")
    assert contents(tmp_path) == dict.fromkeys([*OTHERS, LAST], "again")


def test_what_moves_is_on_the_disk_before(tmp_path, monkeypatch):
    """And the others' names before the last one's, or a loss of power could keep that one alone."""
    opened, synchronise, move = os.open, os.fsync, os.replace
    names, calls = {}, []

    def opening(path, *arguments, **options):
        descriptor = opened(path, *arguments, **options)
        names[descriptor] = Path(path).name
        return descriptor

    def recorded(descriptor):
        calls.append(names[descriptor])
        synchronise(descriptor)

    def moving(source, target):
        calls.append(f"-> {target.name}")
        move(source, target)

    for name, instead in (("open", opening), ("fsync", recorded), ("replace", moving)):
        monkeypatch.setattr(os, name, instead)
    write_all(tmp_path / "run", "new")
    partial = calls[3]
    assert PARTIAL_FOLDER.fullmatch(partial)
    assert calls == ["a", "z", "m", partial, "run", "-> a", "-> z", "run", "-> m", "run"]
    calls.clear()
    with replacing(tmp_path / "file") as file:
        file.write_text("new")
    assert calls == [file.name, "-> file", tmp_path.name]
