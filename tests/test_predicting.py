import numpy as np
import pytest
import torch

from modal_balance.estimators.base import check_finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(7, 3), (4, 7, 3)])
def test_rows_with_predictions_that_are_not_finite_are_counted(shape, bad):
    proba = torch.full(shape, 1 / 3)
    assert check_finite(proba) is proba
    proba[..., 5, 1] = bad
    proba[0, ..., 2] = bad  # row 0, or one hypothesis on all rows
    n_bad = 2 if len(shape) == 2 else 7
    with pytest.raises(ValueError, match=f"not finite for {n_bad} of 7 rows"):
        check_finite(proba)
