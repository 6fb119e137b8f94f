"""Frozen masks, against one plain pass per mask with the masks applied by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from modal_balance.hypotheses.masks import SELU_FLOOR, DropoutEnsemble, hidden_dropout_layers
from modal_balance.torch_state import undisturbed

S = 7


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ensemble_of(module, x, n_samples=S, seed=0):
    ensemble = DropoutEnsemble(module, n_samples, seed)
    ensemble.trace(lambda: module(x[:1]), lambda: module(x[[0, 0]]))
    return ensemble


def outputs_of(module, x, n_samples=S, seed=0):
    ensemble = ensemble_of(module, x, n_samples, seed)
    return ensemble(lambda: module(x))


def mask_of(shape, p, *, seed=0, layer=0, call=0, draw=0):
    """The documented rule: a mask depends on (seed, layer, call, draw) alone."""
    uniform = np.random.default_rng([seed, layer, call, draw]).random(shape, dtype=np.float32)
    return torch.from_numpy((uniform >= p).astype(np.float32))


class Residual(nn.Module):
    """A residual block: one dropout layer, called twice in a forward pass."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.drop, self.out = nn.Dropout(0.4), nn.Linear(6, 3)

    def forward(self, x):
        x = x + self.drop(torch.relu(self.first(x)))
        x = x + self.drop(torch.relu(self.second(x)))
        return self.out(x)


class Branching(nn.Module):
    """Control flow that depends on the data: vmap cannot run it."""

    def __init__(self):
        super().__init__()
        self.drop, self.linear = nn.Dropout(0.5), nn.Linear(6, 3)

    def forward(self, x):
        x = self.drop(x)
        return self.linear(x if x.sum() > -1e9 else -x)


def mlp(p=0.5):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Dropout(p), nn.Linear(8, 8), nn.ReLU(), nn.Dropout(p),
        nn.Linear(8, 3),
    )  # fmt: skip


# --- every kind of layer, by hand -----------------------------------------------------------------


def test_mlp_equals_passes_with_the_masks_applied_by_hand():
    module, x = mlp(0.3), rows(20, 6)
    outputs = outputs_of(module, x, seed=5)
    for draw in range(S):
        with torch.no_grad():
            first = torch.relu(module[0](x)) * mask_of(8, 0.3, seed=5, draw=draw) / 0.7
            second = (
                torch.relu(module[3](first)) * mask_of(8, 0.3, seed=5, layer=1, draw=draw) / 0.7
            )
            assert torch.allclose(outputs[draw], module[6](second), atol=1e-6)


def test_a_layer_called_twice_gets_a_mask_for_each_call():
    module, x = Residual(), rows(20, 6)
    outputs = outputs_of(module, x)
    for draw in range(S):
        with torch.no_grad():
            h = x + torch.relu(module.first(x)) * mask_of(6, 0.4, draw=draw) / 0.6
            h = h + torch.relu(module.second(h)) * mask_of(6, 0.4, call=1, draw=draw) / 0.6
            assert torch.allclose(outputs[draw], module.out(h), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Dropout1d(0.5), (4, 5, 9)),
        (nn.Dropout2d(0.5), (4, 5, 6, 7)),
        (nn.Dropout2d(0.5), (4, 5, 6)),
        (nn.Dropout3d(0.5), (4, 5, 2, 3, 4)),
    ],
)
def test_channel_dropout_drops_whole_channels(layer, shape):
    x = rows(*shape)
    outputs = outputs_of(layer, x)
    assert outputs.shape == (S, *shape)
    for draw in range(S):
        mask = mask_of((5, *[1] * (len(shape) - 2)), 0.5, draw=draw)
        assert torch.allclose(outputs[draw], x * mask / 0.5)


@pytest.mark.parametrize(
    ("layer", "mask_shape"),
    [(nn.AlphaDropout(0.3), (5, 6)), (nn.FeatureAlphaDropout(0.3), (5, 1))],
)
def test_alpha_dropout_keeps_its_own_formula(layer, mask_shape):
    x = rows(4, 5, 6)
    outputs = outputs_of(layer, x)
    # Klambauer et al. 2017: a (x d + alpha' (1 - d)) + b
    a = (0.7 + SELU_FLOOR**2 * 0.7 * 0.3) ** -0.5
    b = -a * 0.3 * SELU_FLOOR
    for draw in range(S):
        d = mask_of(mask_shape, 0.3, draw=draw)
        assert torch.allclose(outputs[draw], a * (x * d + SELU_FLOOR * (1 - d)) + b, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Dropout(0.3), torch.ones(1, 20000)),
        (nn.Dropout2d(0.3), torch.ones(1, 20000, 1, 2)),
        (nn.AlphaDropout(0.3), torch.ones(1, 20000)),
        (nn.FeatureAlphaDropout(0.3), torch.ones(1, 20000, 2)),
        (nn.Dropout(1.0), torch.ones(1, 50)),
        (nn.AlphaDropout(1.0), torch.ones(1, 50)),
    ],
)
def test_outputs_take_the_values_torch_gives_and_as_often(layer, x):
    ours = outputs_of(layer, x, n_samples=1)[0].flatten()
    torchs = layer.train()(x).flatten()
    values = torch.cat([ours, torchs]).unique()
    assert len(values) <= 4  # two values, each up to rounding
    assert (ours.unique()[[0, -1]] - torchs.unique()[[0, -1]]).abs().max() < 1e-5
    assert ours.mean().item() == pytest.approx(torchs.mean().item(), abs=0.05)


def test_dropout_of_zero_is_left_out():
    module = nn.Sequential(nn.Dropout(0.0), nn.Linear(6, 8), nn.Dropout(0.5))
    x = rows(5, 6)
    with torch.no_grad():
        expected = module[1](x) * mask_of(8, 0.5) / 0.5
    assert torch.allclose(outputs_of(module, x)[0], expected)


# --- a hypothesis is a function -------------------------------------------------------------------


@pytest.mark.parametrize("module", [mlp(), Residual(), Branching()], ids=["mlp", "res", "branch"])
def test_a_row_is_predicted_alike_alone_shuffled_and_split(module):
    x = rows(30, 6)
    ensemble = ensemble_of(module, x)
    whole = ensemble(lambda: module(x))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    shuffled = ensemble(lambda: module(x[order]))
    assert torch.allclose(shuffled, whole[:, order], atol=1e-6)
    for part in (slice(0, 1), slice(7, 8), slice(3, 20)):
        assert torch.allclose(
            ensemble(lambda part=part: module(x[part])), whole[:, part], atol=1e-6
        )
    another = ensemble_of(module, x[[17]])
    assert torch.allclose(another(lambda: module(x)), whole, atol=1e-6)


def test_draws_differ_and_seeds_differ():
    module, x = mlp(), rows(10, 6)
    outputs = outputs_of(module, x)
    assert all((outputs[k] != outputs[l]).any() for k in range(S) for l in range(k))
    assert (outputs_of(module, x, seed=1) != outputs).any()


def test_the_first_draws_do_not_depend_on_how_many_there_are():
    module, x = mlp(), rows(10, 6)
    few, many = outputs_of(module, x, n_samples=3), outputs_of(module, x, n_samples=20)
    assert torch.allclose(many[:3], few, atol=1e-6)


def test_where_vmap_cannot_run_single_passes_give_the_same_numbers():
    module, x = Branching(), rows(12, 6)
    outputs = outputs_of(module, x)
    for draw in range(S):
        with torch.no_grad():
            expected = module.linear(x * mask_of(6, 0.5, draw=draw) / 0.5)
        assert torch.allclose(outputs[draw], expected, atol=1e-6)


def test_dropout_layers_that_only_some_rows_reach_get_their_masks():
    class Detour(nn.Module):
        def __init__(self):
            super().__init__()
            self.usual, self.rare = nn.Dropout(0.5), nn.Dropout(0.5)

        def forward(self, x):
            x = self.usual(x)
            return self.rare(x) if (x.abs() > 50).any() else x

    module, x = Detour(), rows(4, 6)
    ensemble = ensemble_of(module, x)
    far = x + 1000
    outputs = ensemble(lambda: module(far))
    expected = far * mask_of(6, 0.5, draw=2) / 0.5 * mask_of(6, 0.5, layer=1, draw=2) / 0.5
    assert torch.allclose(outputs[2], expected)


def test_transformer_layers_are_reached():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True)
    x = rows(5, 3, 8)
    outputs = outputs_of(layer, x)
    assert (outputs[0] != outputs[1]).any()
    assert torch.allclose(outputs_of(layer, x[[4]]), outputs[:, [4]], atol=1e-5)


# --- no side effects ------------------------------------------------------------------------------


def fingerprint(module):
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    flags = [m.training for m in module.modules()]
    hooks = [len(m._forward_hooks) for m in module.modules()]
    return state, flags, hooks, torch.get_rng_state(), np.random.get_state()[1].copy()


def assert_same(before, after):
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert before[1:3] == after[1:3]
    assert torch.equal(before[3], after[3])
    assert (before[4] == after[4]).all()


def test_module_and_random_states_are_as_before():
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    module.train()
    module[1].eval()  # mixed flags must survive as they are
    before = fingerprint(module)
    outputs_of(module, rows(10, 6))
    assert_same(before, fingerprint(module))


def test_module_and_random_states_are_as_before_after_an_exception():
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.norm, self.fail = nn.Dropout(0.5), nn.BatchNorm1d(6), False

        def forward(self, x):
            torch.rand(1)
            x = self.norm(self.drop(x))
            if self.fail:
                raise OverflowError
            return x

    module, x = Failing().train(), rows(4, 6)
    ensemble = ensemble_of(module, x)
    module.fail = True
    before = fingerprint(module)
    with pytest.raises(OverflowError):
        ensemble(lambda: module(x))
    assert_same(before, fingerprint(module))


def test_undisturbed_restores_mixed_training_flags():
    module = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()))
    module[1][0].eval()
    flags = [m.training for m in module.modules()]
    with undisturbed(module):
        assert not any(m.training for m in module.modules())
    assert [m.training for m in module.modules()] == flags


# --- what cannot be a hypothesis ------------------------------------------------------------------


@pytest.mark.parametrize("module", [nn.Linear(6, 3), nn.Sequential(nn.Dropout(0.0))])
def test_a_module_without_active_dropout_is_refused(module):
    with pytest.raises(ValueError, match="no active dropout layer"):
        DropoutEnsemble(module, S, 0)


def test_a_dropout_layer_that_is_never_called_does_not_count():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return x

    with pytest.raises(ValueError, match="no active dropout layer"):
        outputs_of(Unused(), rows(4, 6))


def test_functional_dropout_that_is_always_on_is_refused():
    class AlwaysOn(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return nn.functional.dropout(self.drop(x), 0.5, training=True)

    with pytest.raises(ValueError, match="different outputs for the same row in eval mode"):
        outputs_of(AlwaysOn(), rows(4, 60))


def test_rows_that_influence_each_other_are_refused():
    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x) * len(x)

    with pytest.raises(ValueError, match="different outputs for the same row"):
        outputs_of(Centred(), rows(4, 6))


def test_dropout1d_on_a_matrix_is_refused():
    with pytest.raises(ValueError, match="Dropout1d is applied to a tensor of 2 dimensions"):
        outputs_of(nn.Dropout1d(0.5), rows(4, 6))


def test_a_batch_that_is_not_the_first_dimension_is_refused():
    class SequenceFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x.transpose(0, 1)).transpose(0, 1)

    with pytest.raises(ValueError, match="one fixed mask cannot serve both"):
        outputs_of(SequenceFirst(), rows(4, 6, 2))


def test_an_output_without_a_batch_dimension_is_refused():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x).mean(0, keepdim=True)

    with pytest.raises(ValueError, match="first dimension must be the batch"):
        outputs_of(Mean(), rows(4, 6))


def test_layers_with_dropout_of_their_own_are_named():
    module = nn.ModuleDict(
        {
            "rnn": nn.LSTM(4, 4, num_layers=2, dropout=0.5),
            "single": nn.LSTM(4, 4),
            "attention": nn.MultiheadAttention(4, 2, dropout=0.1),
            "plain": nn.MultiheadAttention(4, 2),
        }
    )
    assert hidden_dropout_layers(module) == ["rnn (LSTM)", "attention (MultiheadAttention)"]
