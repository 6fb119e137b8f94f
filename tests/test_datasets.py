from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine

from modal_balance.simulation import networks
from modal_balance.simulation.datasets import (
    PAPER_SETTINGS,
    dataset_names,
    imbalanced,
    load_dataset,
    read_archive,
    repeated,
)

# --- by name --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "n_classes"),
    [
        ("digits", (1797, 64), 10),
        ("breast_cancer", (569, 30), 2),
        ("wine", (178, 13), 3),
        ("iris", (150, 4), 3),
    ],
)
def test_data_sets_of_scikit_learn(name, shape, n_classes):
    data = load_dataset(name)
    assert data.X.shape == shape and data.X.dtype == np.float32
    assert data.y.dtype == np.int64 and np.unique(data.y).tolist() == list(range(n_classes))
    assert data.X_test is None and data.y_test is None
    assert data.source.startswith("scikit-learn ")


def test_unknown_names_and_data_sets_without_a_download_are_errors():
    with pytest.raises(ValueError, match=r"no data set 'mnits'. Known are digits, .*mnist"):
        load_dataset("mnits")
    with pytest.raises(ValueError, match=r"cinic10 is neither .* https.*cinic10\.npz"):
        load_dataset("cinic10")
    assert "har" in dataset_names()


def test_images_in_a_folder_become_rows_of_pixels(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(30, 28, 28), dtype=np.uint8)
    labels = np.arange(30) % 3 + 5
    np.savez(
        tmp_path / "mnist.npz",
        X_train=images[:20], y_train=labels[:20], X_test=images[20:], y_test=labels[20:],
    )  # fmt: skip
    data = load_dataset("mnist", tmp_path)
    assert data.X.shape == (20, 784) and data.X_test.shape == (10, 784)
    np.testing.assert_allclose(data.X[3], images[3].ravel() / 255, rtol=1e-6)
    np.testing.assert_array_equal(np.r_[data.y, data.y_test], labels - 5)
    assert data.source.startswith("mnist.npz, sha256 ") and len(data.source) == 82


def test_tables_in_a_folder_stay_as_they_are(tmp_path):
    X, y = load_wine(return_X_y=True)
    np.savez(tmp_path / "gas_drift_8of10.npz", X=X, y=np.array(["x", "z", "a"])[y])
    data = load_dataset("drift", tmp_path)
    np.testing.assert_array_equal(data.X, X.astype(np.float32))
    np.testing.assert_array_equal(data.y, np.array([1, 2, 0])[y])
    assert data.X_test is None
    np.savez(tmp_path / "keel_vehicle.npz", X=X, y=y)
    np.testing.assert_array_equal(load_dataset("keel_vehicle", tmp_path).X, X.astype(np.float32))
    np.savez(tmp_path / "har.npz", features=X)
    with pytest.raises(ValueError, match=r"has the arrays \['features'\]. Expected X_train"):
        load_dataset("har", tmp_path)


def test_data_sets_missing_from_the_folder_come_from_openml(tmp_path):
    asked = []

    def fetch(data_id, **options):
        asked.append(data_id)
        X = np.full((12_000, 4), 255.0)
        details = {"name": "mnist_784", "version": "1", "md5_checksum": "abc"}
        target = np.array([str(i % 10) for i in range(12_000)], dtype=object)
        return SimpleNamespace(data=X, target=target, details=details)

    data = load_dataset("mnist", tmp_path, fetch=fetch)
    assert asked == [554]
    assert data.X.shape == (2000, 4) and data.X_test.shape == (10_000, 4) and data.X.max() == 1
    assert data.y[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert data.source == "OpenML 554, mnist_784, version 1, md5 abc"
    assert load_dataset("har", fetch=fetch).X_test is None  # no official split there


# --- variants -------------------------------------------------------------------------------------


def test_thinned_classes_keep_their_share_and_others_all():
    y = np.repeat([0, 1, 2, 3], [50, 40, 30, 3])
    rows = imbalanced(y, [1, 3], 0.1, random_state=0)
    assert np.bincount(y[rows]).tolist() == [50, 4, 30, 1]
    assert (np.diff(rows) > 0).all()
    assert rows.tolist() == imbalanced(y, [1, 3], 0.1, random_state=0).tolist()
    assert rows.tolist() != imbalanced(y, [1, 3], 0.1, random_state=1).tolist()
    with pytest.raises(ValueError, match="rare_classes has 9"):
        imbalanced(y, [9], 0.1)
    with pytest.raises(ValueError, match="share must"):
        imbalanced(y, [1], 2.0)


def test_repetitions_are_the_rows_with_noise():
    X, y = load_digits(return_X_y=True)
    X = (X[:300] / 16).astype(np.float32)
    more, labels = repeated(X, y[:300], 2, noise=0.1, random_state=0)
    assert more.shape == (900, 64) and more.dtype == np.float32
    np.testing.assert_array_equal(more[:300], X)
    np.testing.assert_array_equal(labels, np.tile(y[:300], 3))
    noise = more[300:] - np.tile(X, (2, 1))
    assert noise.std() == pytest.approx(0.1, rel=0.02) and abs(noise.mean()) < 0.002
    assert not np.allclose(noise[:300], noise[300:])
    assert len(repeated(X, y[:300], 0)[0]) == 300
    counts, _ = repeated(np.full((200, 5), 5), y[:200], 1, random_state=0)
    assert counts[200:].mean() == pytest.approx(5, abs=0.02)  # not cut to whole numbers


# --- files ----------------------------------------------------------------------------------------


def test_archives_are_read(tmp_path):
    X, y = load_wine(return_X_y=True)
    words = np.array(["red", "rosé", "white"])[y]
    np.savez(tmp_path / "wine.npz", X=X, kind=words)
    found, labels = read_archive(tmp_path / "wine.npz", "kind")
    np.testing.assert_allclose(found, X, rtol=1e-6)
    assert labels.tolist() == words.tolist()


def test_unusable_archives_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(ValueError, match="There is no file"):
        read_archive(path)
    for arrays, message in (
        ({"X": np.zeros((3, 2))}, r"no array \['y'\]"),
        ({"X": np.zeros((3, 2)), "y": np.arange(4)}, "3 rows of X but 4 labels"),
        ({"X": np.full((2, 2), np.nan), "y": np.arange(2)}, "missing or infinite"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=message):
            read_archive(path)
    np.savez(path, X=np.zeros((300, 2)), y=np.arange(300))
    np.save(tmp_path / "a.npy", np.zeros(3))
    whole = path.read_bytes()
    for damaged in (b"PK no archive", b"", whole[:1000], (tmp_path / "a.npy").read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="cannot be read"):
            read_archive(path)


# --- the paper's settings -------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAPER_SETTINGS)
def test_the_papers_settings_name_known_data_sets_and_networks(name):
    settings = PAPER_SETTINGS[name]
    assert name in dataset_names()
    assert hasattr(networks, settings.network)
    assert settings.anneal == (0.5 if name == "mnist" else 0.25)
    assert settings.learning_rate == (0.01 if settings.network == "MLP" else 0.001)
