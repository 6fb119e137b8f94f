"""Reports of simulations: tables, figures, and an HTML page with both."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING

from .._utils.atomic import replacing
from .figures import area_heat_map, learning_curves, rank_figure
from .results import labels_needed, mean_ranks, normalised_areas, pairwise

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["default_baseline", "verdicts", "write_report"]

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece")
SIGNIFICANT = 0.05
# One sentence on each term of the tables.
GLOSSARY = {
    "accuracy": "Share of the test rows whose class is predicted correctly.",
    "balanced_accuracy": "Mean over the classes of the share of their rows predicted correctly.",
    "macro_f1": "Mean over the classes of F1, the harmonic mean of precision and recall.",
    "nll": "Negative log-likelihood in nats: the smaller, the more probable the model found the "
    "true classes.",
    "ece": "Expected calibration error: the mean gap between confidence and accuracy; 0 is best.",
    "difference": "Mean over the paired runs of the accuracy minus that of the baseline; error is "
    "its standard error.",
    "p": "Probability of differences at least this large by chance (Wilcoxon's signed-rank test).",
    "p_holm": "The same, corrected for the number of strategies compared (Holm); below 0.05 counts "
    "as statistically significant.",
    "mean rank": "Rank of the strategy among all, averaged over data sets and runs; 1 is best.",
    "target": "Accuracy to reach.",
    "reached": "Share of the runs that reach the target.",
    "labels": "Labels needed: median over the runs of the number of labels at which the target is "
    "first reached; inf if half of the runs never reach it.",
}
CSS = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
.wide { overflow-x: auto; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 0.85rem; }
th, td { border-bottom: 1px solid #ccc; padding: 0.2rem 0.6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
"""


def write_report(frame: pd.DataFrame, output: str | Path, *, baseline: str | None = None) -> Path:
    """Write tables (Markdown), figures (PNG) and an HTML page that summarise simulations.

    Parameters
    ----------
    frame : DataFrame
        As :func:`~modal_balance.simulation.results.read_results` returns it.
    output : path
        Folder, created if it does not exist.
    baseline : str, default=None
        Strategy that the others are compared with. None: "margin", else "random", else the first.

    Returns
    -------
    Path
        The page, ``index.html`` in the folder.

    Raises
    ------
    ValueError
        If there are no rounds, or the baseline is not among the strategies.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from modal_balance.simulation.report import write_report
    >>> metrics = dict.fromkeys(("balanced_accuracy", "macro_f1", "nll", "ece"), 0.5)
    >>> runs = [
    ...     {"dataset": "iris", "estimator": "forest", "strategy": strategy, "seed": 0, "round": i,
    ...      "n_labelled": n, "accuracy": n / 100, "seconds_fit": 0.1, "seconds_draw": 0.1,
    ...      "seconds_select": 0.0, "machine": "x86", **metrics}
    ...     for strategy in ("margin", "random") for i, n in enumerate((10, 20))
    ... ]
    >>> write_report(pd.DataFrame(runs), tempfile.mkdtemp()).name
    'index.html'
    """
    if not len(frame):
        raise ValueError("The results have no rounds to report.")
    known = sorted(frame["strategy"].unique())
    baseline = default_baseline(frame) if baseline is None else baseline
    if baseline not in known:
        raise ValueError(f"baseline={baseline!r} is not in the results. They have {known}.")
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    tables = _tables(frame, baseline)
    figures = {"learning_curves": learning_curves(frame), "ranks": rank_figure(frame)}
    if len(known) > 1:
        figures["areas"] = area_heat_map(frame, baseline)
    for name, table in tables.items():
        text = f"# {_heading(name, baseline)}\n\n{_markdown(table)}\n\n"
        text += "".join(f"* {word}: {meaning}\n" for word, meaning in _explained(table))
        _write(folder / f"{name}.md", text.encode())
    pictures = {}
    for name, figure in figures.items():
        picture = io.BytesIO()
        figure.savefig(picture, dpi=110, format="png")
        pictures[name] = picture.getvalue()
        _write(folder / f"{name}.png", pictures[name])
    _write(folder / "index.html", _page(frame, baseline, tables, pictures).encode())
    return folder / "index.html"


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as new:
        new.write_bytes(data)


def default_baseline(frame: pd.DataFrame) -> str:
    """Return the default baseline: margin, random, or the first strategy.

    The frame is a result of :func:`~modal_balance.simulation.results.read_results`.
    """
    known = sorted(frame["strategy"].unique())
    return str(next((name for name in ("margin", "random") if name in known), known[0]))


def verdicts(frame: pd.DataFrame, baseline: str) -> list[str]:
    """Return a sentence for each data set and estimator, with the leading strategy and its lead.

    The frame is a result of :func:`~modal_balance.simulation.results.read_results`, and the
    strategies are compared with the strategy ``baseline``.

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.simulation.report import verdicts
    >>> runs = [
    ...     {"dataset": "iris", "estimator": "forest", "strategy": strategy, "seed": 0,
    ...      "n_labelled": n, "accuracy": n / 100 + (strategy == "margin") / 10}
    ...     for strategy in ("margin", "random") for n in (10, 20)
    ... ]
    >>> verdicts(pd.DataFrame(runs), "random")[0][:60]
    'iris, forest: margin leads with 0.250, +0.100 against random'
    """
    areas = normalised_areas(frame)
    compared = pairwise(areas, baseline)
    sentences = []
    for (dataset, estimator), part in areas.groupby(["dataset", "estimator"]):
        means = part.groupby("strategy").mean()
        here = compared[(compared["dataset"] == dataset) & (compared["estimator"] == estimator)]
        ahead = here[here["difference"] > 0].sort_values("difference", ascending=False)
        # Use the numbers of the tables: means over the curve, and differences over paired runs.
        best = ahead["strategy"].iloc[0] if len(ahead) else baseline
        if best not in means:  # no run of the baseline here
            best = means.idxmax()
        text = f"{dataset}, {estimator}: {best} leads with {means[best]:.3f}"
        for row in ahead.head(1).to_dict("records"):
            chance = "" if row["p_holm"] < SIGNIFICANT else ", not statistically significant"
            text += (
                f", {row['difference']:+.3f} against {baseline} (ahead in {row['wins']} of "
                f"{row['runs']} runs, p_holm = {_cell(row['p_holm'])}{chance})"
            )
        worse = here[(here["difference"] < 0) & (here["p_holm"] < SIGNIFICANT)]["strategy"]
        if len(worse):
            text += f". Significantly below {baseline}: {', '.join(worse)}"
        sentences.append(text + ".")
    return sentences


def _tables(frame: pd.DataFrame, baseline: str) -> dict[str, pd.DataFrame]:
    areas = {metric: normalised_areas(frame, metric) for metric in METRICS if metric in frame}
    by_set = ["dataset", "estimator", "strategy"]
    means = {name: area.groupby(by_set).mean() for name, area in areas.items()}
    last = frame.loc[frame.groupby([*by_set, "seed"])["n_labelled"].idxmax()]
    at_end = last.groupby(by_set)["accuracy"].agg(["mean", "std"]).fillna(0.0)
    seconds = frame.groupby(by_set)[["seconds_fit", "seconds_draw", "seconds_select"]].mean()
    accuracy = areas["accuracy"]
    low, high = accuracy.min(), last["accuracy"].max()
    targets = [round(low + share * (high - low), 2) for share in (0.5, 0.75, 0.9)]
    import pandas as pd

    tables = {
        "mean_over_the_curve": pd.DataFrame(means).reset_index(),
        "accuracy_at_the_end": at_end.reset_index(),
        "against_the_baseline": pairwise(accuracy, baseline),
        "mean_ranks": mean_ranks(accuracy).rename("mean rank").reset_index(),
        "labels_needed": labels_needed(frame, targets),
        "seconds_a_round": seconds.reset_index(),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _heading(name: str, baseline: str) -> str:
    heading = name.replace("_", " ").capitalize()
    return heading.replace("the baseline", f"the baseline {baseline}")


def _explained(table: pd.DataFrame) -> list[tuple[str, str]]:
    return [(str(name), GLOSSARY[name]) for name in table.columns if name in GLOSSARY]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 0.01 else f"{value:.3f}"
    return str(value)


def _markdown(table: pd.DataFrame) -> str:
    def cell(value: object) -> str:
        text = " ".join(html.escape(_cell(value), quote=False).split())
        return text.replace("\\", "\\\\").replace("|", "\\|").replace("$", "\\$")

    rows = [list(map(cell, table.columns)), ["---"] * len(table.columns)]
    rows += [list(map(cell, row)) for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _html_table(table: pd.DataFrame) -> str:
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in table.columns)
    rows = [
        "".join(f"<td>{html.escape(_cell(value))}</td>" for value in row)
        for row in table.itertuples(index=False)
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    words = "".join(f"<dt>{word}</dt><dd>{meaning}</dd>" for word, meaning in _explained(table))
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div><dl>{words}</dl>'


def _page(
    frame: pd.DataFrame,
    baseline: str,
    tables: dict[str, pd.DataFrame],
    pictures: dict[str, bytes],
) -> str:
    parts = ["<h1>Active learning, simulated</h1>"]
    n_runs = len(frame.groupby(["dataset", "estimator", "strategy", "seed"]))
    parts.append(f"<p>{n_runs} runs, {len(frame)} rounds. Areas are means over the curve.</p><ul>")
    if frame["strategy"].nunique() > 1:
        parts += [f"<li>{html.escape(line)}</li>" for line in verdicts(frame, baseline)]
    parts.append("</ul>")
    for name, picture in pictures.items():
        data = base64.b64encode(picture).decode()
        alt = name.replace("_", " ")
        parts.append(f'<p><img alt="{alt}" src="data:image/png;base64,{data}"></p>')
    for name, table in tables.items():
        parts.append(f"<h2>{html.escape(_heading(name, baseline))}</h2>")
        parts.append(_html_table(table))
    machines = ", ".join(sorted({str(machine) for machine in frame.get("machine", [])}))
    parts.append(f"<p>Machine: {html.escape(machines or 'unknown')}.</p>")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Active learning, simulated</title><style>{CSS}</style></head><body>"
        + "\n".join(parts)
        + "</body></html>\n"
    )
