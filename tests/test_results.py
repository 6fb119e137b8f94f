import gzip
import json
import signal

import numpy as np
import pytest
from scipy.stats import wilcoxon
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from toy import shuffled

pd = pytest.importorskip("pandas")

from modal_balance import margin_query, random_query  # noqa: E402
from modal_balance.simulation import simulate  # noqa: E402
from modal_balance.simulation.results import (  # noqa: E402
    holm,
    labels_needed,
    mean_ranks,
    normalised_areas,
    pairwise,
    read_results,
    records_to_resume,
)


def made_up(n_seeds=8, strategies=("a", "b", "c"), datasets=("one", "two"), seed=0):
    """Results with a known better strategy: each is ahead of the next by 0.02."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "dataset": dataset, "estimator": "e", "strategy": strategy, "seed": s, "round": r,
            "n_labelled": n, "accuracy": 0.5 + n / 100 - 0.02 * i + rng.normal(scale=0.005),
            "nll": 1 - n / 100,
        }
        for dataset in datasets
        for i, strategy in enumerate(strategies)
        for s in range(n_seeds)
        for r, n in enumerate((10, 20, 35))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_files_are_read_and_the_later_of_two_lines_counts(tmp_path):
    frame = made_up(2)
    lines = [json.dumps(row) for row in frame.to_dict("records")]
    (tmp_path / "a.jsonl").write_text("\n".join(lines[:10]) + "\n" + lines[10][:30])
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        changed = json.loads(lines[0]) | {"accuracy": 0.123}
        file.write("\n".join([*lines[10:], json.dumps(changed)]) + "\n")
    found = read_results(tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz")
    assert len(found) == len(frame)
    assert found.accuracy[0] == 0.123
    np.testing.assert_allclose(found.accuracy[1:], frame.accuracy[1:])


def test_a_simulation_is_read_as_it_was_returned(tmp_path):
    X, y = shuffled(load_iris)
    path = tmp_path / "r.jsonl"
    strategies = {"margin": margin_query, "random": random_query}
    frame = simulate(
        RandomForestClassifier(5), X, y, strategies, budget=13, n_instances=5, seeds=2, results=path
    )
    pd.testing.assert_frame_equal(read_results(path), frame)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json\n", "line 1"),
        ('{"a": 1}\n', "line 1 lacks 'dataset'"),
        ("[1, 2]\n", "line 1 lacks"),
        ("\xff\xfe\n", "line 1"),
    ],
)
def test_other_files_are_refused(content, message, tmp_path):
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(ValueError, match=rf"x\.jsonl is not a results file: .*{message}"):
        read_results(tmp_path / "x.jsonl")


def test_a_damaged_line_is_named_and_nothing_is_cut(tmp_path):
    lines = [json.dumps(row) for row in made_up(1).to_dict("records")]
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join([*lines[:3], lines[3][:40], *lines[4:]]) + "\n" + lines[0][:20])
    before = path.read_bytes()
    for read in (read_results, records_to_resume):
        with pytest.raises(ValueError, match=r"r\.jsonl is damaged: line 4"):
            read(path)
    assert path.read_bytes() == before


def test_a_line_that_was_cut_off_is_written_again_however_little_is_left_of_it(tmp_path):
    line = json.dumps(made_up(1).to_dict("records")[0])
    path = tmp_path / "r.jsonl"
    for kept in ("", line + "\n"):
        for n in (0, 1, 5, 30, len(line)):
            path.write_text(kept + line[:n])
            assert len(records_to_resume(path)) == bool(kept)
            assert path.read_text() == kept


def test_a_write_that_stores_too_little_is_an_error_and_the_next_run_goes_on(tmp_path):
    resource = pytest.importorskip("resource")
    X, y = shuffled(load_iris)
    path = tmp_path / "r.jsonl"

    def run():
        return simulate(
            RandomForestClassifier(5, random_state=0), X, y, {"random": random_query},
            budget=18, n_instances=5, seeds=1, results=path,
        )  # fmt: skip

    whole = run()
    size = path.stat().st_size
    path.unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 100, before[1]))
    try:
        with pytest.raises(OSError, match=r"r\.jsonl took \d+ of \d+ bytes"):
            run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert len(read_results(path)) == len(whole) - 1
    times = [name for name in whole if name.startswith("seconds")]
    pd.testing.assert_frame_equal(run().drop(columns=times), whole.drop(columns=times))
    assert len(read_results(path)) == len(whole)


def test_areas_are_means_of_the_curve():
    frame = made_up()
    areas = normalised_areas(frame)
    assert len(areas) == 2 * 3 * 8
    for (dataset, _, strategy, seed), area in areas.items():
        curve = frame[
            (frame.dataset == dataset) & (frame.strategy == strategy) & (frame.seed == seed)
        ]
        fine = np.linspace(10, 35, 100_001)
        expected = np.interp(fine, curve.n_labelled, curve.accuracy).mean()
        assert area == pytest.approx(expected, abs=1e-5)
    shuffled_rows = frame.sample(frac=1, random_state=0)
    pd.testing.assert_series_equal(normalised_areas(shuffled_rows), areas)
    assert normalised_areas(frame, "nll").max() < 1


def test_strategies_are_compared_run_by_run():
    areas = normalised_areas(made_up())
    table = pairwise(areas, "b").set_index(["dataset", "strategy"])
    assert set(table.index) == {(d, s) for d in ("one", "two") for s in "ac"}
    for (dataset, strategy), row in table.iterrows():
        gaps = [areas[dataset, "e", strategy, s] - areas[dataset, "e", "b", s] for s in range(8)]
        assert row.difference == pytest.approx(np.mean(gaps))
        assert row.error == pytest.approx(np.std(gaps, ddof=1) / np.sqrt(8))
        assert (row.wins, row.ties, row.losses) == (8, 0, 0) or strategy == "c"
        assert row.p == pytest.approx(wilcoxon(gaps).pvalue)
        assert row.runs == 8
        assert row.p_holm == pytest.approx(min(1, 2 * row.p))  # both have the smallest p
    assert table.loc[("one", "a")].difference == pytest.approx(0.02, abs=0.005)
    with pytest.raises(ValueError, match="baseline='z' is not in the results"):
        pairwise(areas, "z")


def test_only_seeds_that_both_have_are_compared():
    areas = normalised_areas(made_up(datasets=("one",)))
    fewer = areas.drop([("one", "e", "a", s) for s in (0, 1, 2)])
    table = pairwise(fewer, "b").set_index("strategy")
    assert table.runs.to_dict() == {"a": 5, "c": 8}
    same = pd.concat(
        [areas, areas.rename(index={"a": "twin"}).xs("twin", level=2, drop_level=False)]
    )
    twin = pairwise(same, "a").set_index("strategy").loc["twin"]
    assert (twin.ties, twin.p) == (8, 1.0)


def test_equal_areas_are_ties_whatever_the_last_bits():
    correct = {"a": [49, 45, 51, 42, 44, 53], "b": [49, 45, 42, 51, 44, 53]}  # of 54 test rows
    run = {"dataset": "one", "estimator": "e", "seed": 0, "n_labelled": range(10, 70, 10)}
    frame = pd.concat(
        [
            pd.DataFrame({**run, "strategy": name, "accuracy": np.array(n) / 54})
            for name, n in correct.items()
        ]
    )
    areas = normalised_areas(frame)
    assert pairwise(areas, "b")[["wins", "ties", "losses"]].to_numpy().tolist() == [[0, 1, 0]]
    assert mean_ranks(areas).to_dict() == {"a": 1.5, "b": 1.5}


def test_holm():
    # Sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1, and no smaller than the one before.
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1, 1])
    assert len(holm(np.empty(0))) == 0


def test_labels_needed_are_interpolated():
    frame = pd.DataFrame(
        {
            "dataset": "one", "estimator": "e", "strategy": "a",
            "seed": [0, 0, 0, 1, 1, 1], "n_labelled": [10, 20, 30] * 2,
            "accuracy": [0.5, 0.6, 0.9, 0.7, 0.6, 0.65],
        }
    )  # fmt: skip
    table = labels_needed(frame, [0.5, 0.75, 0.95]).set_index("target")
    assert table.labels.tolist() == [10, np.inf, np.inf]
    assert table.reached.tolist() == [1.0, 0.5, 0.0]
    alone = labels_needed(frame[frame.seed == 0], [0.55, 0.75]).labels.tolist()
    assert alone == pytest.approx([15, 25])


def test_ranks_are_means_over_all_runs():
    ranks = mean_ranks(normalised_areas(made_up()))
    assert ranks.index.tolist() == ["a", "b", "c"]
    assert ranks.sum() == pytest.approx(6)
    assert ranks["a"] < 1.2
