"""Files are whole or absent, and an error names them."""

import pytest

from kd_lightning import files


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "comparison.json"
    files.write(path, "old")

    def full(self, content):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="see that there is space"):
        files.write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_named_with_the_file(tmp_path):
    (tmp_path / "runs").write_text("a file where a folder should be")
    with pytest.raises(
        OSError, match=r"runs/a/metrics\.json could not be written .*that the folder may be written"
    ):
        files.write(tmp_path / "runs" / "a" / "metrics.json", "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
