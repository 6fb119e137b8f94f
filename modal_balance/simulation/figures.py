"""Figures of simulations. They need matplotlib, from the extra ``plot``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .results import mean_ranks, normalised_areas

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["area_heat_map", "learning_curves", "rank_figure"]

# Okabe and Ito's colours, which are safe for colour-blind readers, in several line styles.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.")


def _plain(text: object) -> str:
    """Return a text that matplotlib does not read as a formula."""
    return str(text).replace("$", r"\$")


def _new_figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Figures need matplotlib: python -m pip install 'modal-balance[plot]'"
        ) from error
    # Do not use pyplot: its global state belongs to the user.
    return Figure(figsize=(width, height), layout="constrained")


def learning_curves(
    frame: pd.DataFrame, metric: str = "accuracy", strategies: Sequence[str] | None = None
) -> Figure:
    """Draw the learning curves of each data set: means over the seeds, with standard errors.

    Parameters
    ----------
    frame : DataFrame
        As :func:`~modal_balance.simulation.results.read_results` returns it.
    metric : str, default="accuracy"
        Column of the metric.
    strategies : sequence of str, default=None
        Strategies to draw, in this order. None: all.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.simulation.figures import learning_curves
    >>> run = {"dataset": "iris", "estimator": "forest", "strategy": "margin", "seed": 0}
    >>> curve = pd.DataFrame({"n_labelled": [10, 20, 40], "accuracy": [0.5, 0.7, 0.8]})
    >>> len(learning_curves(curve.assign(**run)).axes)
    1
    """
    names = sorted(frame["strategy"].unique()) if strategies is None else list(strategies)
    panels = list(frame.groupby(["dataset", "estimator"]))
    n_columns = 2 if len(panels) == 4 else min(3, len(panels))
    several = frame["estimator"].nunique() > 1
    n_rows = -(-len(panels) // n_columns)
    figure = _new_figure(4.2 * n_columns + 1.6, 3.2 * n_rows + 0.4)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis, ((dataset, estimator), part) in zip(axes, panels, strict=False):
        for i, name in enumerate(names):
            curves = part[part["strategy"] == name].groupby("n_labelled")[metric]
            if not len(curves):
                continue
            mean, error = curves.mean(), curves.sem().fillna(0.0)
            colour = COLOURS[i % len(COLOURS)]
            style = STYLES[i // len(COLOURS) % len(STYLES)]
            axis.plot(mean.index, mean, style, color=colour, label=_plain(name), linewidth=1.6)
            axis.fill_between(
                mean.index, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0
            )
        title = f"{dataset}, {estimator}" if several else dataset
        axis.set_title(_plain(title), fontsize=10)
        axis.grid(alpha=0.3)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    figure.supxlabel("labels", fontsize=10)
    figure.supylabel(metric.replace("_", " "), fontsize=10)
    lines = {line.get_label(): line for axis in axes for line in axis.get_lines()}
    figure.legend(lines.values(), lines.keys(), loc="outside right upper", fontsize=9)
    return figure


def area_heat_map(frame: pd.DataFrame, baseline: str, metric: str = "accuracy") -> Figure:
    """Draw the difference of each strategy from a baseline on each data set, in hundredths.

    Parameters
    ----------
    frame : DataFrame
        As :func:`~modal_balance.simulation.results.read_results` returns it.
    baseline : str
        Strategy to compare with.
    metric : str, default="accuracy"
        Column whose normalised area under the curve is compared over paired seeds.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.simulation.figures import area_heat_map
    >>> runs = [
    ...     {"dataset": "iris", "estimator": "forest", "strategy": strategy, "seed": 0,
    ...      "n_labelled": n, "accuracy": n / 100}
    ...     for strategy in ("margin", "random") for n in (10, 20)
    ... ]
    >>> len(area_heat_map(pd.DataFrame(runs), "random").axes)
    1
    """
    wide = normalised_areas(frame, metric).unstack("strategy")
    gaps = 100 * wide.sub(wide[baseline], axis=0).drop(columns=baseline)
    cells = gaps.groupby(["dataset", "estimator"]).mean()  # (data sets, strategies)
    cells = cells[cells.mean().sort_values(ascending=False).index]
    n_rows, n_columns = cells.shape
    figure = _new_figure(2.6 + 0.8 * n_columns, 1.6 + 0.38 * n_rows)
    axis: Any = figure.subplots()
    values = cells.to_numpy(float)
    largest = max(float(np.nanmax(np.abs(values))), 0.1) if values.size else 1.0
    axis.imshow(values, cmap="PuOr", vmin=-largest, vmax=largest, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        colour = "white" if abs(value) > 0.65 * largest else "black"
        axis.text(j, i, f"{value:+.1f}", ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(
        range(n_columns), map(_plain, cells.columns), rotation=40, ha="right", fontsize=9
    )
    several = cells.index.get_level_values("estimator").nunique() > 1
    labels = [f"{name}, {estimator}" if several else name for name, estimator in cells.index]
    axis.set_yticks(range(n_rows), map(_plain, labels), fontsize=9)
    title = f"Mean {metric.replace('_', ' ')} over the curve, minus that of {baseline}, x 100"
    axis.set_title(_plain(title), fontsize=10, wrap=True)
    return figure


def rank_figure(frame: pd.DataFrame, metric: str = "accuracy") -> Figure:
    """Draw the mean rank of each strategy over data sets and seeds.

    Parameters
    ----------
    frame : DataFrame
        As :func:`~modal_balance.simulation.results.read_results` returns it.
    metric : str, default="accuracy"
        Column whose normalised area under the curve is ranked.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import pandas as pd
    >>> from modal_balance.simulation.figures import rank_figure
    >>> runs = [
    ...     {"dataset": "iris", "estimator": "forest", "strategy": strategy, "seed": 0,
    ...      "n_labelled": n, "accuracy": n / 100}
    ...     for strategy in ("margin", "random") for n in (10, 20)
    ... ]
    >>> len(rank_figure(pd.DataFrame(runs)).axes)
    1
    """
    ranks = mean_ranks(normalised_areas(frame, metric))
    figure = _new_figure(6.0, 0.9 + 0.3 * len(ranks))
    axis: Any = figure.subplots()
    places = np.arange(len(ranks))[::-1]
    axis.hlines(places, 1, ranks, color="0.8", linewidth=2)
    axis.plot(ranks, places, "o", color=COLOURS[0])
    for place, rank in zip(places, ranks, strict=True):
        axis.annotate(
            f"{rank:.2f}",
            (rank, place),
            (7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axis.set_yticks(places, map(_plain, ranks.index), fontsize=9)
    axis.set_xlim(1, max(len(ranks), 2) + 0.3)
    axis.set_xlabel("mean rank over data sets and seeds (1 is the best)", fontsize=9)
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure
