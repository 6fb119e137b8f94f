"""Run Figure 5 of the paper: strategies on HAR, DRIFT and Dry Bean (resumable).

The protocol is the paper's: 20 labels at the start, batches of 10, an MLP 64-64 with dropout 0.5,
early stopping on 2,000 validation rows. Columns are standardised by the pool. To limit the cost, a
seed has a pool of 3,000 rows and 1,500 test rows. "paper's estimator" uses Eq. 5 with 10,000
samples for the whole batch; "paper's program" rounds its totals to float32, as in the authors'
released program: see paper_estimator.py. "Batch-BALanCe" in the results restarts with the full
weights when less than 1e-4 is left uncut; "to the end" maximises the objective for the whole batch,
in closed form.
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from paper_estimator import paper_estimator_query
from sklearn.preprocessing import StandardScaler

import modal_balance as mb
from modal_balance.simulation import simulate
from modal_balance.simulation.datasets import PAPER_SETTINGS, load_dataset


def epig_query(
    learner: Any, X_pool: Any, n_instances: int = 1, *, random_state: Any = None,
    callback: Any = None, n_samples: int = 100,
) -> Any:  # fmt: skip
    """EPIG with 200 rows of the pool as targets."""
    rows = np.random.RandomState(0).permutation(len(X_pool))[:200]
    return mb.epig_query(
        learner, X_pool, n_instances, X_target=X_pool[rows], n_samples=n_samples,
        random_state=random_state, callback=callback,
    )  # fmt: skip


def strategies(n_pairs: int) -> dict[str, Any]:
    """Return the strategies by name, with 2K hypotheses each."""
    drawn: dict[str, Any] = {"n_samples": 2 * n_pairs}
    return {
        "random": mb.random_query,
        "margin": partial(mb.margin_query, **drawn),
        "clustered margin": partial(mb.clustered_margin_query, **drawn),
        "variation ratio": partial(mb.variation_ratio_query, **drawn),
        "mean STD": partial(mb.mean_std_query, **drawn),
        "BALD": partial(mb.bald_query, **drawn),
        "BatchBALD": partial(mb.batchbald_query, max_configurations=1000, **drawn),
        "PowerBALD": partial(mb.power_bald_query, **drawn),
        "EPIG": partial(epig_query, **drawn),
        "BADGE": mb.badge_query,
        # Names in the results file; appendix.py translates them to today's.
        "Batch-BALanCe, to the end": partial(mb.balance_query, **drawn),
        "default of balance_query": partial(mb.balance_margin_query, **drawn),
        "PowerBALanCe": partial(mb.power_balance_query, **drawn),
        "paper's estimator": partial(paper_estimator_query, **drawn),
        "paper's program": partial(paper_estimator_query, single=True, **drawn),
    }


def main() -> None:
    """Run what is missing in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", default=["har", "drift", "dry_bean"])
    parser.add_argument("--strategies", nargs="+")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=int, default=120)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.datasets:
            settings, data = PAPER_SETTINGS[name], load_dataset(name, args.data_dir)
            rows = np.random.RandomState(seed).permutation(len(data.X))
            test = data.X_test, data.y_test
            if data.X_test is not None and data.y_test is not None:
                few = np.random.RandomState(0).permutation(len(data.X_test))[:1500]
                test = data.X_test[few], data.y_test[few]
            n_held = settings.n_validation
            if data.X_test is None:
                n_held += settings.n_test
                test = (data.X[rows[settings.n_validation : n_held]],
                        data.y[rows[settings.n_validation : n_held]])  # fmt: skip
            pool, validation = rows[n_held:], rows[: settings.n_validation]
            scale = StandardScaler().fit(data.X[pool]).transform
            known = strategies(settings.n_pairs)
            chosen = {s: known[s] for s in args.strategies or known}
            simulate(
                mb.MCDropoutClassifier.paper(
                    learning_rate=settings.learning_rate, n_samples=2 * settings.n_pairs
                ),
                scale(data.X[pool]),
                data.y[pool],
                chosen,
                X_test=scale(test[0]),
                y_test=test[1],
                X_val=scale(data.X[validation]),
                y_val=data.y[validation],
                n_initial=settings.n_initial,
                initial_per_class=False,
                n_instances=settings.n_instances,
                budget=args.budget,
                pool_size=3000,
                seeds=[seed],
                dataset=name,
                estimator_name="paper",
                results=args.results,
            )


if __name__ == "__main__":
    main()
