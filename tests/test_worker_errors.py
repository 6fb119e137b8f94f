"""An error in a worker process, last of all: after it, joblib starts its processes anew."""

import tempfile

from test_shards import raises_and_leaves_no_file


def test_an_error_in_a_process_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    raises_and_leaves_no_file(ValueError("no number"), tmp_path, n_jobs=2)
