"""Queries of pools that do not fit in memory, in all supported forms."""

import shutil
import sys
from collections import namedtuple
from functools import lru_cache

import joblib
import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from toy import indices_of, quick, skorch_net

import modal_balance
from modal_balance import (
    balance_margin_query,
    balance_query,
    bald_query,
    batchbald_query,
    coreset_query,
    draw_hypotheses,
    epig_query,
    herding_query,
    margin_query,
    power_bald_query,
    uncertainty_herding_query,
)
from modal_balance.acquisition.information import bald_scores
from modal_balance.acquisition.uncertainty import margin_scores
from modal_balance.pools.caching import left_in_container, memory_bytes
from modal_balance.pools.partitions import PartitionedSource

N, D = 22_000, 6
TWO_BLOCKS = 10_300
COLUMNS = [f"column {i}" for i in range(D)]


@lru_cache(maxsize=1)
def rows():
    """A pool of 22,000 rows, three blocks, and labels."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)).astype(np.float32)
    score = X[:, 0] + X[:, 1] ** 2 + 0.3 * rng.normal(size=N)
    return X, (score > 0.5).astype(int) + (X[:, 2] > 1)


@lru_cache(maxsize=1)
def classifier():
    X, y = rows()
    return quick(hidden_layer_sizes=(16,), dropout=0.5).fit(X[:80], y[:80])


def batch(X_pool=None, learner=None, strategy=balance_query, n_instances=15, **options):
    """The indices and scores of a query, as lists."""
    defaults = {"random_state": 3, "n_samples": 12}
    if "balance" in strategy.__name__:
        defaults["tau"] = 0.02
    learner = classifier() if learner is None else learner
    X_pool = rows()[0] if X_pool is None else X_pool
    indices, scores = strategy(learner, X_pool, n_instances, **(defaults | options))
    return indices.tolist(), scores.tolist()


@pytest.fixture
def small_disk(monkeypatch):
    """No space for scratch files."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [balance_query, balance_margin_query])
def test_the_batch_does_not_depend_on_the_memory(strategy, small_disk, monkeypatch):
    in_memory = batch(strategy=strategy)
    assert (
        batch(strategy=strategy, memory_limit=10_000) == in_memory
    )  # predicted again for every pick
    monkeypatch.undo()
    assert batch(strategy=strategy, memory_limit=10_000) == in_memory  # in a file


def test_the_batch_does_not_depend_on_the_number_of_processes():
    expected = batch()
    with joblib.parallel_config(n_jobs=2):
        assert batch() == expected


@pytest.mark.parametrize("wrapped", [True, False])
def test_other_processes_need_not_be_able_to_import_the_network(wrapped):
    class Network(nn.Sequential):  # like a class of a script or a notebook
        def __init__(self, n_inputs, n_classes):
            super().__init__(nn.Linear(n_inputs, 8), nn.Dropout(0.5), nn.Linear(8, n_classes))

    X, y = rows()
    learner = quick(module=Network) if wrapped else skorch_net(Network(D, 3))
    learner.fit(X[:80], y[:80])
    expected = batch(learner=learner)
    with joblib.parallel_config(n_jobs=2):
        assert batch(learner=learner) == expected


@pytest.mark.parametrize("strategy", [herding_query, uncertainty_herding_query, balance_query])
def test_missing_values_in_a_large_pool_are_refused_with_their_place(strategy, tmp_path):
    X = rows()[0][:TWO_BLOCKS].copy()
    X[TWO_BLOCKS - 50] = np.nan
    np.save(tmp_path / "pool.npy", X)
    given = {"tau": 0.02} if strategy is balance_query else {"X_labelled": X[:80]}
    if strategy is uncertainty_herding_query:
        given["y_labelled"] = rows()[1][:80]
    with pytest.raises(ValueError, match=r"Rows \d+ to \d+ of .*pool.npy failed: .*contains NaN"):
        strategy(classifier(), tmp_path / "pool.npy", 3, random_state=0, **given)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (1000, 1000), ("1000", 1000), ("4GB", 4 * 10**9), ("0.5 mb", 500_000), ("2GiB", 2**31),
        ("3k", 3000), ("1TiB", 2**40), (np.int64(1000), 1000),
    ],
)  # fmt: skip
def test_memory_limits_are_read(limit, expected):
    assert memory_bytes(limit) == expected


def test_the_default_is_a_share_of_what_is_free():
    assert 10**6 < memory_bytes(None) < 10**13


GROUPS = {
    # version -> names of the files of a group, and the line of /proc/self/cgroup
    2: ("", ("memory.max", "memory.current", "inactive_file"), "0::/jobs/mine"),
    1: (
        "memory",
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        "4:cpu,memory:/jobs/mine",
    ),
}


@pytest.mark.parametrize("version", GROUPS)
@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        # (limit, usage, pages of files that could be dropped) of /jobs and of /jobs/mine
        (None, (5_000, 1_000, 200), 4_200),
        ((3_000, 2_500, 100), (5_000, 1_000, 200), 600),
        (("max", 2_500, 100), (5_000, 6_000, 0), 0),
        (None, None, sys.maxsize),
    ],
)
def test_the_limit_of_a_container_counts(tmp_path, version, outer, inner, expected):
    mount, (limit_file, usage_file, reclaimable), line = GROUPS[version]
    for folder, numbers in [("jobs", outer), ("jobs/mine", inner)]:
        group = tmp_path / mount / folder
        group.mkdir(parents=True)
        if numbers is not None:
            (group / limit_file).write_text(f"{numbers[0]}\n")
            (group / usage_file).write_text(f"{numbers[1]}\n")
            (group / "memory.stat").write_text(f"anon 77\n{reclaimable} {numbers[2]}\n")
    (tmp_path / "groups").write_text(f"9:name=systemd:/\n{line}\n")
    assert left_in_container(str(tmp_path), str(tmp_path / "groups")) == expected


def test_without_control_groups_there_is_no_limit_of_a_container(tmp_path):
    assert left_in_container(str(tmp_path), str(tmp_path / "nothing")) == sys.maxsize


class ManyClasses:
    """Hypotheses of 100 classes that record how many rows they predict at once."""

    classes_ = np.arange(100)

    def __init__(self):
        self.most_rows = 0

    def predict_proba_samples(self, X):
        self.most_rows = max(self.most_rows, len(X))
        weights = torch.linspace(-1, 1, 20 * X.shape[1] * 100).view(20, -1, 100).sin()
        return torch.softmax(torch.from_numpy(X) @ weights, -1)


@pytest.mark.parametrize("n_reference", [None, 2000])
def test_reference_rows_are_predicted_block_by_block(n_reference):
    X = np.random.default_rng(0).normal(size=(10_001, 2)).astype("float32")
    X_reference = None if n_reference is None else X[:n_reference]
    learner = ManyClasses()
    options = {"tau": 0.0, "random_state": 0, "X_reference": X_reference}
    balance_query(learner, X[: 10_001 if n_reference is None else 50], 1, **options)
    assert 20 * 100 * 4 * learner.most_rows < 40e6  # bytes of the predictions


@pytest.mark.parametrize(
    ("limit", "error"),
    [("much", ValueError), ("", ValueError), (0, ValueError), (-5, ValueError), ("0.4", ValueError),
     ("1.2.3G", ValueError), (1.5, TypeError), (True, TypeError), ([], TypeError)],
)  # fmt: skip
def test_what_is_no_memory_is_refused_by_name(limit, error):
    with pytest.raises(error, match="memory_limit"):
        batch(memory_limit=limit)


def test_a_pool_of_10000_rows_is_its_own_reference_pool_and_a_larger_one_is_sampled():
    X, _ = rows()
    assert batch(X[:10_000]) == batch(X[:10_000], X_reference=X[:10_000])
    assert batch() == batch()
    reports = []
    for options in ({}, {"X_reference": X}):
        balance_query(
            classifier(), X, n_samples=40, pairing="all", tau=0.3, random_state=0,
            callback=reports.append, **options,
        )  # fmt: skip
    sampled, whole = (report.n_edges for report in reports)
    assert abs(sampled - whole) < 0.1 * reports[0].n_pairs


# --- forms ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected():
    return batch()


def test_memory_maps_and_paths_of_arrays(tmp_path, expected):
    X, _ = rows()
    np.save(tmp_path / "pool.npy", np.concatenate([X[:100], X]))
    mapped = np.load(tmp_path / "pool.npy", mmap_mode="r")
    assert batch(mapped[100:]) == expected  # what begins in the middle of a file
    np.save(tmp_path / "pool.npy", X)
    assert batch(tmp_path / "pool.npy") == expected
    assert batch(str(tmp_path / "pool.npy"), memory_limit=1000) == expected
    changed = np.load(tmp_path / "pool.npy", mmap_mode="c")
    changed[:] = X[::-1]  # in memory, not in the file
    assert batch(changed) == batch(X[::-1].copy()) != expected
    raw = np.memmap(tmp_path / "raw", np.float32, "w+", shape=X.shape)
    raw[:] = X
    assert batch(raw) == expected
    fortran = np.memmap(tmp_path / "fortran", np.float32, "w+", shape=X.shape, order="F")
    fortran[:] = X
    assert batch(fortran) == expected


def test_a_small_pool_on_disk_is_read(tmp_path):
    X, _ = rows()
    np.save(tmp_path / "pool.npy", X[:300])
    assert batch(tmp_path / "pool.npy") == batch(X[:300])


def test_other_rows_can_be_on_disk_too(tmp_path):
    X, y = rows()
    np.save(tmp_path / "some.npy", X[:500])
    some = tmp_path / "some.npy"
    assert batch(X_reference=some, X_pending=some) == batch(X_reference=X[:500], X_pending=X[:500])
    options = {"tau": None, "y_val": y[:500]}
    assert batch(X_val=some, **options) == batch(X_val=X[:500], **options)


def test_tensors_frames_dicts_and_sparse_matrices(expected):
    pd = pytest.importorskip("pandas")
    X, y = rows()
    assert batch(torch.from_numpy(X)) == expected
    named = quick(hidden_layer_sizes=(16,), dropout=0.5).fit(
        pd.DataFrame(X[:80], columns=COLUMNS), y[:80]
    )
    assert batch(pd.DataFrame(X, columns=COLUMNS, index=np.arange(N)[::-1]), named) == expected
    forest = RandomForestClassifier(12, max_depth=4, random_state=0).fit(X[:80], y[:80])
    assert batch(sparse.csr_matrix(X), forest)[0] == batch(X, forest)[0]
    assert batch(sparse.coo_matrix(X), forest)[0] == batch(X, forest)[0]


def written(folder, X, sizes, row_group_size):
    """Return a folder of Parquet files of several sizes, with a column that is not used."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    start = 0
    folder.mkdir()
    for number, size in enumerate(sizes):
        part = X[start : start + size]
        columns = {name: part[:, i] for i, name in enumerate(COLUMNS)}
        table = pa.table(columns | {"when": [f"day {number}"] * size})
        parquet.write_table(
            table, folder / f"part-{number:02}.parquet", row_group_size=row_group_size
        )
        start += size
    return folder


UNEVEN = [1, 9_000, 333, 12_000, 666]


def test_parquet_folders_of_uneven_files_and_row_groups(tmp_path, expected):
    pd = pytest.importorskip("pandas")
    X, y = rows()
    folder = written(tmp_path / "pool", X, UNEVEN, 1234)
    named = quick(hidden_layer_sizes=(16,), dropout=0.5).fit(
        pd.DataFrame(X[:80], columns=COLUMNS), y[:80]
    )
    assert batch(folder, named) == expected
    assert batch(str(folder), named, memory_limit=1000) == expected
    from pyarrow import dataset

    assert batch(dataset.dataset(folder), named) == expected
    numbers = dataset.dataset(folder).to_table(columns=COLUMNS)
    from pyarrow import parquet

    parquet.write_table(numbers, tmp_path / "numbers.parquet", row_group_size=5000)
    assert batch(tmp_path / "numbers.parquet") == expected  # fitted with an array
    with joblib.parallel_config(n_jobs=2):
        assert batch(folder, named) == expected


def test_a_pipeline_may_begin_with_a_step_that_does_nothing(tmp_path):
    pd = pytest.importorskip("pandas")
    X, y = rows()
    frame = pd.DataFrame(X, columns=COLUMNS)
    encode = make_column_transformer((StandardScaler(), COLUMNS[:3]))
    forest = RandomForestClassifier(5, random_state=0)
    pipeline = Pipeline([("none", "passthrough"), ("encode", encode), ("forest", forest)])
    pipeline.fit(frame[:80], y[:80])
    folder = written(tmp_path / "pool", X, UNEVEN, 1234)
    options = {"learner": pipeline, "strategy": margin_query}
    assert batch(folder, **options) == batch(frame, **options)


def test_processes_of_another_kind_are_refused():
    with joblib.parallel_config(backend="multiprocessing", n_jobs=2):
        with pytest.raises(ValueError, match="MultiprocessingBackend cannot .* backend=.loky"):
            batch()


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_tables_in_memory_are_sliced(library, expected):
    pd = pytest.importorskip("pandas")
    pytest.importorskip(library)
    X, y = rows()
    frame = pd.DataFrame(X, columns=COLUMNS)
    columns = dict(zip(COLUMNS, X.T, strict=True))
    module = sys.modules[library]
    table = module.table(columns) if library == "pyarrow" else module.DataFrame(columns)
    named = quick(hidden_layer_sizes=(16,), dropout=0.5).fit(frame[:80], y[:80])
    assert batch(table, named) == expected
    if library == "pyarrow":
        assert batch(table.combine_chunks().to_batches()[0], named) == expected
    some = {"strategy": batchbald_query, "n_instances": 3, "max_pool": 50}
    assert batch(table, named, **some) == batch(frame, named, **some)
    with pytest.raises(ValueError, match="22000 rows of X_pool, and the limit is 0.001 GB"):
        batch(table, named, strategy=batchbald_query, memory_limit="1MB")


def test_zarr_arrays(tmp_path, expected):
    zarr = pytest.importorskip("zarr")
    X, _ = rows()
    array = zarr.open(
        str(tmp_path / "pool.zarr"), mode="w", shape=X.shape, chunks=(3000, 4), dtype="f4"
    )
    array[:] = X
    assert batch(array) == expected


def test_dask_collections_without_a_cluster(expected):
    dask_array = pytest.importorskip("dask.array")
    X, y = rows()
    assert batch(dask_array.from_array(X, chunks=(7000, 4))) == expected
    unknown = dask_array.from_array(X, chunks=(7000, 4))
    assert batch(unknown[unknown[:, 0] > -99]) == expected
    pd = pytest.importorskip("pandas")
    dask_frame = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame(X, columns=COLUMNS)
    named = quick(hidden_layer_sizes=(16,), dropout=0.5).fit(frame[:80], y[:80])
    frames = dask_frame.from_pandas(frame.assign(other="word"), npartitions=5)
    assert batch(frames, named) == expected


# --- errors ---------------------------------------------------------------------------------------


def test_what_is_wrong_with_a_file_is_said_at_the_door(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        batch(tmp_path / "nothing.npy")
    np.save(tmp_path / "narrow.npy", rows()[0][:, :4])
    with pytest.raises(ValueError, match="X_pool has 4 features but"):
        batch(tmp_path / "narrow.npy")
    np.save(tmp_path / "empty.npy", rows()[0][:0])
    with pytest.raises(ValueError, match="X_pool is empty"):
        batch(tmp_path / "empty.npy")


def test_a_bad_row_is_named_by_its_block(tmp_path):
    X = rows()[0].copy()
    X[15_000, 2] = np.nan
    np.save(tmp_path / "pool.npy", X)
    with pytest.raises(ValueError, match=r"Rows 10240 to 20479 of X_pool.*pool\.npy.*failed.*NaN"):
        batch(tmp_path / "pool.npy", X_reference=X[:100])


def test_a_column_of_the_wrong_type_is_named_by_its_file(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = written(tmp_path / "pool", rows()[0], UNEVEN, 1234)
    words = {name: ["a", "b", "c"] for name in [*COLUMNS, "when"]}
    parquet.write_table(pa.table(words), folder / "part-02.parquet")
    X, y = rows()
    pd = pytest.importorskip("pandas")
    named = quick().fit(pd.DataFrame(X[:80], columns=COLUMNS), y[:80])
    with pytest.raises(ValueError, match=r"row group 0 of [^,]*part-02\.parquet failed: Arrow"):
        batch(folder, named)


def test_words_are_no_input_of_an_estimator_fitted_with_an_array(tmp_path):
    folder = written(tmp_path / "pool", rows()[0], UNEVEN, 5000)
    with pytest.raises(ValueError, match="'when' holds string.*fitted with an array"):
        batch(folder)


def test_a_missing_column_is_named_at_the_door(tmp_path):
    pd = pytest.importorskip("pandas")
    X, y = rows()
    folder = written(tmp_path / "pool", X, UNEVEN, 5000)
    named = quick().fit(pd.DataFrame(X[:80], columns=[*COLUMNS[:-1], "missing"]), y[:80])
    with pytest.raises(ValueError, match="no column 'missing'"):
        batch(folder, named)


@pytest.mark.parametrize("first", ["empty", "integers", "float32", "extra column"])
def test_files_whose_types_differ_are_read_like_one_table(tmp_path, first):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    X, y = rows()
    forest = RandomForestClassifier(10, random_state=0)
    forest.fit(pd.DataFrame(X[:80], columns=COLUMNS), y[:80])
    here = pd.DataFrame(X[80:380], columns=COLUMNS).astype("float64")
    last = COLUMNS[-1]
    change = {
        "empty": lambda: here.assign(**{last: None}),
        "integers": lambda: here.assign(**{last: np.arange(300) % 3}),
        "float32": lambda: here.astype("float32"),
        "extra column": lambda: here.assign(more=1),
    }
    files = [change[first](), here + 0.3]
    for number, frame in enumerate(files):
        frame.to_parquet(tmp_path / f"{number}.parquet", index=False)
    together = pd.concat([f[COLUMNS].astype("float64") for f in files])
    options = {"n_instances": 9, "tau": 0.0, "random_state": 0}
    indices = balance_query(forest, tmp_path, **options)[0]
    assert indices.tolist() == balance_query(forest, together, **options)[0].tolist()


def test_partitions_without_rows_are_not_read():
    partitions = {0: np.array([0.0, 1.0]), 2: np.array([2.0])}  # reading the second would fail
    source = PartitionedSource([2, 0, 1], partitions.__getitem__, str)
    assert source.read(0, 3).tolist() == [0, 1, 2]
    assert source.read(2, 3).tolist() == [2]
    assert source.rows(np.array([1, 2])).tolist() == [1, 2]


@pytest.mark.parametrize("as_frame", [True, False])
def test_a_file_that_lacks_a_column_is_named(tmp_path, as_frame):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    X, y = rows()
    frame = pd.DataFrame(X, columns=COLUMNS)
    # A forest would take the nulls that pyarrow fills in.
    forest = RandomForestClassifier(10, random_state=0)
    forest.fit(frame[:80] if as_frame else X[:80], y[:80])
    frame[:200].to_parquet(tmp_path / "a.parquet", index=False)
    frame[200:].drop(columns=COLUMNS[2]).to_parquet(tmp_path / "b.parquet", index=False)
    with pytest.raises(ValueError, match=rf"b\.parquet has no column '{COLUMNS[2]}'"):
        balance_query(forest, tmp_path, 3, tau=0.0)


def test_columns_in_the_names_of_folders_are_no_missing_columns(tmp_path):
    pd = pytest.importorskip("pandas")
    dataset = pytest.importorskip("pyarrow.dataset")
    X, y = rows()
    frame = pd.DataFrame(X[:300], columns=COLUMNS)
    frame["year"] = np.arange(300) // 150 + 2000
    forest = RandomForestClassifier(10, random_state=0).fit(frame, y[:300])
    for year, part in frame.groupby("year"):
        (tmp_path / f"year={year}").mkdir()
        part.drop(columns="year").to_parquet(tmp_path / f"year={year}" / "0.parquet", index=False)
    options = {"n_instances": 5, "tau": 0.0, "random_state": 0}
    pool = dataset.dataset(tmp_path, partitioning="hive")
    indices = balance_query(forest, pool, **options)[0]
    assert indices.tolist() == balance_query(forest, frame, **options)[0].tolist()


# --- other strategies -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "scores"), [(margin_query, margin_scores), (bald_query, bald_scores)]
)
def test_scores_are_those_of_the_predictions_on_all_rows(strategy, scores, tmp_path):
    X, _ = rows()
    np.save(tmp_path / "pool.npy", X)
    indices, found = batch(tmp_path / "pool.npy", strategy=strategy)
    hypotheses = draw_hypotheses(classifier(), 12, random_state=3)
    everyone = scores(hypotheses.predict_proba_samples(X))
    assert found == pytest.approx(everyone.sort(descending=True).values[:15].tolist(), abs=1e-6)
    assert everyone[indices].tolist() == pytest.approx(found, abs=1e-6)


WITHOUT_HYPOTHESES = ("badge_query", "coreset_query", "herding_query", "random_query")
STREAMING = [
    name
    for name in sorted(modal_balance.__all__)
    if name.endswith("_query") and name not in WITHOUT_HYPOTHESES
]


@pytest.mark.parametrize("name", STREAMING)
def test_every_strategy_takes_a_pool_on_disk_and_processes(name, tmp_path):
    X = rows()[0][:TWO_BLOCKS]
    np.save(tmp_path / "pool.npy", X)
    strategy = getattr(modal_balance, name)
    options = {"max_pool": 500} if name == "batchbald_query" else {}
    options |= {"strategy": strategy, "n_instances": 4, "X_pending": X[:3]}
    if name == "power_balance_query":
        options["coldness"] = 2.0
    expected = batch(X, **options)
    assert len(set(expected[0])) == 4
    assert batch(tmp_path / "pool.npy", **options) == expected
    with joblib.parallel_config(n_jobs=2):
        assert batch(tmp_path / "pool.npy", **options) == expected


@pytest.mark.parametrize("name", WITHOUT_HYPOTHESES)
def test_strategies_without_hypotheses_take_a_pool_on_disk(name, tmp_path):
    strategy = getattr(modal_balance, name)
    X = rows()[0][:TWO_BLOCKS]
    np.save(tmp_path / "pool.npy", X)
    in_memory = strategy(classifier(), X, 5, random_state=0)
    on_disk = strategy(classifier(), tmp_path / "pool.npy", 5, random_state=0)
    assert [part.tolist() for part in in_memory] == [part.tolist() for part in on_disk]


def test_strategies_that_hold_the_pool_say_so_and_name_the_bound():
    with pytest.raises(
        ValueError, match="22000 rows of X_pool, and the limit is 0.001 GB.*max_pool="
    ):
        batch(strategy=batchbald_query, memory_limit="1MB")
    with pytest.raises(ValueError, match="holds the features.*memory_limit"):
        coreset_query(classifier(), rows()[0], 3, memory_limit="1MB")
    assert len(batch(strategy=batchbald_query, memory_limit="1MB", max_pool=300)[0]) == 15


def test_batchbald_can_choose_from_a_part_of_a_small_pool():
    X, _ = rows()
    whole = batchbald_query(classifier(), X[:400], 5, random_state=0)
    assert indices_of(
        batchbald_query(classifier(), X[:400], 5, max_pool=400, random_state=0)
    ).tolist() == (indices_of(whole).tolist())
    part = indices_of(batchbald_query(classifier(), X[:400], 5, max_pool=6, random_state=0))
    assert len(set(part.tolist())) == 5 and part.max() < 400


def test_targets_of_epig_are_a_sample_of_a_large_pool():
    indices, scores = batch(strategy=epig_query, n_targets=50)
    assert indices == batch(strategy=epig_query, n_targets=50)[0]
    assert scores[0] > 0


def test_partition_and_power_take_the_reference_sample():
    assert len(set(batch(pairing="partition")[0])) == 15
    assert len(set(batch(strategy=power_bald_query)[0])) == 15


def test_verbose_shows_one_bar_for_predictions_and_one_for_picks(capsys):
    batch(verbose=1)
    shown = capsys.readouterr().err
    assert "Hypotheses: 100%" in shown and "Batch: 100%" in shown
    assert "22000/22000" in shown and "15/15" in shown
