"""A write is complete or absent, replaces only files, and is checked before the work."""

import errno
import os
import socket
import stat
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from safetensors.torch import save_file

from textvae.support.errors import UserError
from textvae.support.files import (
    PARTIAL_FOLDER,
    check_folder,
    check_name,
    check_writable,
    move,
    replacing,
    replacing_files_in,
)

needs_rights = pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")


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
    """Stands for a signal that ends the process."""


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
    """The other names are on the disk before the last one; otherwise a power failure could leave only the last."""
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


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "a.txt") as partial:
            partial.write_text("a")
        with replacing(tmp_path / "a.safetensors") as partial:
            save_file({"a": torch.zeros(1)}, partial)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [mode] * 2


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path):
    file = tmp_path / "secret"
    file.touch()
    file.chmod(0o640)
    with replacing(file) as partial:
        partial.write_text("new")
    assert (stat.S_IMODE(file.stat().st_mode), file.read_text()) == (0o640, "new")


# ---- paths that are not files


@pytest.mark.parametrize("exists", [True, False])
def test_the_file_behind_links_is_written(tmp_path, exists):
    (tmp_path / "big").mkdir()
    if exists:
        (tmp_path / "big" / "file").write_text("old")
    (tmp_path / "link").symlink_to("other")
    (tmp_path / "other").symlink_to("big/file")
    with replacing(tmp_path / "link") as partial:
        partial.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "other").is_symlink()
    assert (tmp_path / "big" / "file").read_text() == "new"


def read_from(pipe):
    """A thread that reads a pipe to its end, and the list that receives the content."""
    found = []
    thread = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    thread.start()
    return thread, found


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_to(tmp_path, linked):
    pipe, path = tmp_path / "pipe", tmp_path / ("link.txt" if linked else "pipe")
    os.mkfifo(pipe)
    if linked:
        path.symlink_to("pipe")
    check_writable(path)
    thread, found = read_from(pipe)
    with replacing(path) as partial:
        assert partial.suffix == path.suffix
        partial.write_bytes(b"all of it")
    thread.join(10)
    assert found == [b"all of it"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert len(list(tmp_path.iterdir())) == 1 + linked


def test_a_whole_file_is_moved_into_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"whole")
    thread, found = read_from(tmp_path / "pipe")
    move(tmp_path / "file", tmp_path / "pipe")
    thread.join(10)
    assert found == [b"whole"]


def test_a_device_stays_one(tmp_path):
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.stat(os.devnull).st_rdev)
        device.write_bytes(b"")
    except PermissionError:
        pytest.skip("only root makes devices, and not everywhere")
    check_writable(device)
    with replacing(device) as partial:
        partial.write_text("gone")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert os.listdir(tmp_path) == ["null"]


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_what_is_open_is_written_between_what_is_printed(tmp_path, monkeypatch, capfd, path):
    """Standard output is a file here; it is neither replaced nor overwritten."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("/dev/stdout")
    print("before")
    check_writable(path)
    with replacing(path) as partial:
        partial.write_text("between\n")
    print("after")
    assert capfd.readouterr().out == "before\nbetween\nafter\n"


def test_a_file_that_cannot_be_replaced_is_overwritten(tmp_path, monkeypatch):
    """The file is itself a mount point, as in containers."""

    def busy(*_):
        raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(os, "replace", busy)
    (tmp_path / "file").write_text("old and long")
    with replacing(tmp_path / "file") as partial:
        partial.write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "new"}


# ---- before the work


def places(folder):
    """Paths that cannot be written to, by the reason."""
    (folder / "file").touch()
    (folder / "loop").symlink_to("loop")
    (folder / "in-file").symlink_to("file/x")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "socket"))
    server.close()
    return {
        "the folder": folder,
        "Not a directory": folder / "file" / "x.npy",
        "not a directory": folder / "in-file",
        "the socket": folder / "socket",
        "symbolic links": folder / "loop",
        "too long": folder / ("x" * 300),
    }


@pytest.mark.parametrize(
    "fault", ["the folder", "Not a directory", "not a directory", "the socket", "symbolic links", "too long"]
)
def test_a_place_that_cannot_be_written_is_refused_in_one_line(tmp_path, monkeypatch, fault):
    monkeypatch.chdir(tmp_path)  # socket names must be short
    path = places(Path("."))[fault]
    before = sorted(os.listdir())
    with pytest.raises(UserError, match=f"(?i)^expected a (file|place) to write to, got .*{fault}") as raised:
        check_writable(path, "x.npy")
    assert "\n" not in str(raised.value)
    assert sorted(os.listdir()) == before


def test_a_socket_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = places(Path("."))["the socket"]
    with pytest.raises(UserError, match="got the socket socket"), replacing(path):
        pass
    Path("whole").touch()
    with pytest.raises(UserError, match="got the socket socket"):
        move(Path("whole"), path)
    assert stat.S_ISSOCK(path.stat().st_mode)


@pytest.mark.parametrize("path", ["new.npy", "a/b/c.npy", "old.npy", "link.npy", os.devnull, "/dev/stdout"])
def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.npy").write_text("old")
    (tmp_path / "link.npy").symlink_to("far/off.npy")
    before = sorted(os.listdir())
    check_writable(path)
    assert sorted(os.listdir()) == before
    assert (tmp_path / "old.npy").read_text() == "old"


@needs_rights
def test_what_one_may_not_write_is_refused(tmp_path):
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.touch(0o444)
    folder.mkdir(0o555)
    for path in (file, folder / "new", folder / "newer" / "new"):
        with pytest.raises(UserError, match="Permission denied"):
            check_writable(path)
    with pytest.raises(UserError, match="Permission denied"):
        check_folder(folder / "new")


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("check", [check_writable, check_folder])
def test_a_full_disk_is_refused(tmp_path, monkeypatch, check):
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(UserError, match=r"got .*new \(No space left on device\): choose another"):
        check(tmp_path / "new")


def test_a_folder_for_files(tmp_path):
    (tmp_path / "file").touch()
    check_folder(tmp_path)
    check_folder(tmp_path / "a" / "b")
    assert os.listdir(tmp_path) == ["file"]
    for folder in ("file", "file/in"):
        with pytest.raises(UserError, match=rf"got .*{folder} \(Not a directory\)"):
            check_folder(tmp_path / folder)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a second disk")
def test_a_link_to_another_disk(tmp_path):
    with TemporaryDirectory(dir="/dev/shm") as other:
        (tmp_path / "link").symlink_to(Path(other) / "file")
        (tmp_path / "whole").write_text("whole")
        move(tmp_path / "whole", tmp_path / "link")
        assert (Path(other) / "file").read_text() == "whole"
    assert sorted(os.listdir(tmp_path)) == ["link"]


# ---- names


@pytest.mark.parametrize("name", ["mixture", "a b", "v1.2", "größe", "a-b_c+d", "_x", "x" * 100])
def test_a_name_of_a_file(name):
    check_name(name, "a prior")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/x",
        ".hidden",
        "a\\b",
        "a\nb",
        "x\0",
        "-x",
        " x",
        "x" * 101,
        "日" * 90,
        "a\x1b",
    ],
)
def test_a_name_that_is_none_of_a_file(name):
    with pytest.raises(
        UserError, match=r"^expected letters and digits as the name of a prior, got "
    ) as raised:
        check_name(name, "a prior")
    assert "\n" not in str(raised.value)
