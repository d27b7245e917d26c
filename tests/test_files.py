"""A write is whole or not there at all."""

import pytest

from textvae.files import replacing, replacing_files_in


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
    with replacing_files_in(tmp_path) as partial:
        (partial / "a").write_text("new")
        assert not (tmp_path / "a").exists()
    with pytest.raises(KeyError), replacing_files_in(tmp_path) as partial:
        (partial / "a").write_text("half")
        raise KeyError
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"kept": "kept", "a": "new"}
