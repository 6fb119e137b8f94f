import pytest
import torch
from torch import nn

from modal_balance.estimators.networks import MLP, check_logits
from modal_balance.hypotheses.dropout_calls import has_dropout


def test_layers_in_order_with_dropout_between_layers_only():
    network = MLP(7, 3, hidden_layer_sizes=(5, 4), dropout=0.25).layers
    kinds = [type(layer) for layer in network]
    hidden = [nn.Linear, nn.ReLU, nn.Dropout]
    assert kinds == [*hidden, *hidden, nn.Linear]
    shapes = [(layer.in_features, layer.out_features) for layer in network[::3]]
    assert shapes == [(7, 5), (5, 4), (4, 3)]
    assert {layer.p for layer in network if isinstance(layer, nn.Dropout)} == {0.25}


def test_default_is_64_64_with_half_of_the_units_dropped():
    sizes = [layer.out_features for layer in MLP(7, 3).layers if isinstance(layer, nn.Linear)]
    assert sizes == [64, 64, 3]
    assert MLP(7, 3).layers[2].p == 0.5


def test_output_is_the_logits_of_a_network_written_by_hand():
    network = MLP(7, 3, hidden_layer_sizes=(5,)).eval()
    x = torch.randn(11, 7)
    first, last = network.layers[0], network.layers[3]
    hidden = (x @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(network(x), hidden @ last.weight.T + last.bias)


def test_no_hidden_layer_is_a_linear_model():
    network = MLP(7, 3, hidden_layer_sizes=())
    assert [type(layer) for layer in network.layers] == [nn.Linear]
    assert not has_dropout(network)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Dropout(0.5), True),
        (nn.Dropout(0.0), False),
        (nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout2d(0.1))), True),
        (nn.Sequential(nn.AlphaDropout(0.3)), True),
        (nn.Linear(2, 2), False),
    ],
)
def test_has_dropout(module, expected):
    assert has_dropout(module) is expected


@pytest.mark.parametrize(
    ("logits", "got"),
    [
        (torch.zeros(2, 3), "(2, 3)"),
        (torch.zeros(2), "(2,)"),
        (torch.zeros(2, 4, 1), "(2, 4, 1)"),
        ((torch.zeros(2, 4), None), "tuple"),
    ],
)
def test_check_logits_says_what_came_and_what_was_expected(logits, got):
    check_logits(torch.zeros(2, 4), (2, 4))
    with pytest.raises(ValueError) as error:
        check_logits(logits, (2, 4))
    assert f"module returned {got} for 2 rows and 4 classes" in str(error.value)
    assert "Expected logits of shape (2, 4)" in str(error.value)
