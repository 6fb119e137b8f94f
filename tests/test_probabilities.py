import pytest
import torch

from modal_balance.acquisition import check_probabilities, likelihood_deficit


def uniform(*shape):
    return torch.full(shape, 1 / shape[-1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_softmax_output_of_any_precision_is_accepted(dtype):
    logits = torch.randn(5, 40, 60, generator=torch.Generator().manual_seed(0))
    check_probabilities(torch.softmax(logits.to(dtype), -1))


def test_an_empty_pool_is_no_error():
    check_probabilities(torch.zeros(3, 0, 2))


def spoilt(value):
    proba = uniform(2, 3, 4)
    proba[1, 2, 3] = value
    return proba


@pytest.mark.parametrize(
    ("proba", "error", "message"),
    [
        (torch.randn(2, 3, 4), ValueError, "sums to"),
        (torch.log_softmax(torch.randn(2, 3, 4), -1), ValueError, "sums to"),
        (spoilt(torch.nan), ValueError, "contains NaN"),
        (spoilt(torch.inf), ValueError, "sums to inf"),
        (torch.tensor([[[1.5, -0.5]]]), ValueError, r"negative probability \(-0.5\)"),
        (uniform(2, 3, 1), ValueError, "1 class"),
        (uniform(3, 4), ValueError, r"got \(3, 4\)"),
        (uniform(0, 3, 4), ValueError, "at least one"),
        (torch.ones(2, 3, 4, dtype=torch.int64), TypeError, "int64"),
        ([[0.5, 0.5]], TypeError, "list"),
    ],
)
def test_what_is_no_distribution_is_refused(proba, error, message):
    with pytest.raises(error, match=message):
        check_probabilities(proba)


def test_the_message_names_tensor_and_cause():
    with pytest.raises(ValueError, match=r"pending has a row that sums to 4, not 1\. Softmax it\."):
        check_probabilities(torch.ones(1, 1, 4), name="pending", cause="Softmax it.")


def test_deficit_is_one_minus_the_likelihood_ratio():
    proba = torch.tensor([[0.1, 0.6, 0.3], [0.0, 0.0, 1.0]], dtype=torch.float64)
    expected = [[1 - 0.1 / 0.6, 0, 1 - 0.3 / 0.6], [1, 1, 0]]
    assert torch.allclose(likelihood_deficit(proba), torch.tensor(expected, dtype=torch.float64))


def test_deficit_keeps_its_relative_precision_near_a_tie():
    proba = torch.tensor([0.5, 0.5 - 2**-20])  # both exact in float32
    assert likelihood_deficit(proba)[1].item() == pytest.approx(2**-19, rel=1e-6)
