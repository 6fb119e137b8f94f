"""
Figure 2: how many labels does it take?
=======================================

This example puts numbers on the paper's stylised Figure 2. The n hypotheses are thresholds on a
uniform pool, at 1, 1/2, 1/4 and so on. Almost all of them lie close together near 0, where they
hardly differ; those up to sigma form one equivalence class. BALD asks for the label that halves the
number of hypotheses, so it spends queries on differences that do not matter. EC2 asks for the label
that tells equivalence classes apart.

The table counts the queries until all remaining hypotheses lie in one class: on average over all n
possible truths, and for the truth that needs most queries. Both policies stop when the class is
known. With sigma = 0, every hypothesis is a class by itself; this is how long BALD, which does not
know the classes, would continue.

.. code-block:: text

    python examples/plot_figure2_queries.py
"""

from __future__ import annotations

import argparse

import matplotlib.pyplot as plt

from modal_balance.reference.finite import (
    count_queries,
    ec2_scores,
    halving_thresholds,
    information_gain_scores,
)

SCORES = {"BALD": information_gain_scores, "EC2": ec2_scores}
SIGMAS = {"0": 0.0, "1/1024": 1 / 1024, "1/64": 1 / 64, "1/8": 1 / 8}
SIZES = [2**exponent for exponent in range(4, 11)]


# %%
# Counting
# --------


def count_all() -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Return (most, mean) queries for each n, by policy and sigma."""
    results: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for policy, score in SCORES.items():
        for name, sigma in SIGMAS.items():
            if (policy, name) == ("EC2", "0"):
                continue  # without classes EC2 halves the number of hypotheses, too
            row = results[policy, name] = []
            for n_hypotheses in SIZES:
                proba, cells = halving_thresholds(n_hypotheses, sigma)
                counts = count_queries(proba, cells, score).double()
                row.append((int(counts.max()), counts.mean().item()))
    return results


# %%
# Table and picture
# -----------------


def print_table(results: dict[tuple[str, str], list[tuple[int, float]]]) -> None:
    """Print most and mean queries, a row for each policy and sigma."""
    print("queries until the class is known: most (mean) over the truths")
    print(f"{'policy':8}{'sigma':8}" + "".join(f"{f'n={n}':>11}" for n in SIZES))
    for (policy, sigma), row in results.items():
        cells = "".join(f"{f'{most} ({mean:.2f})':>11}" for most, mean in row)
        print(f"{policy:8}{sigma:8}{cells}")


def plot(results: dict[tuple[str, str], list[tuple[int, float]]], output: str | None) -> None:
    """Draw the number of queries over n."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.6), sharex=True, layout="constrained")
    markers = dict(zip(SIGMAS, "xosD", strict=True))
    colours = {"BALD": "tab:red", "EC2": "tab:blue"}
    for column, (axis, title) in enumerate(
        zip(axes, ("truth that takes most queries", "mean over all truths"), strict=True)
    ):
        for (policy, sigma), row in results.items():
            axis.plot(
                SIZES,
                [entry[column] for entry in row],
                color=colours[policy],
                linestyle="-" if policy == "EC2" else "--",
                marker=markers[sigma],
                markersize=5,
                alpha=0.8,
                label=f"{policy}, $\\sigma$ = {sigma}",
            )
        axis.set_xscale("log", base=2)
        axis.set_ylim(bottom=0)
        axis.set_xlabel("hypotheses n")
        axis.set_title(title)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("queries until the class is known")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    if output:
        figure.savefig(output, dpi=150)
    else:
        plt.show()


def main() -> None:
    """Count, print and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="no effect: always quick")
    parser.add_argument("--output", help="save the picture here")
    arguments = parser.parse_args()
    results = count_all()
    print_table(results)
    plot(results, arguments.output)


# %%
# Run
# ---

if __name__ == "__main__":
    main()
