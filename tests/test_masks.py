"""Frozen masks, compared with one plain pass per mask with masks applied by hand."""

import pickle
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skorch import NeuralNetClassifier
from torch import nn

from modal_balance import DropoutHypotheses, balance_query
from modal_balance._utils.torch_state import copy_of, interrupts_held, undisturbed
from modal_balance.hypotheses.chunks import Blocks
from modal_balance.hypotheses.dropout_calls import DropoutCalls
from modal_balance.hypotheses.last_layer import last_layer_features
from modal_balance.hypotheses.masks import SELU_FLOOR, DropoutEnsemble
from modal_balance.hypotheses.snapshots import SnapshotHypotheses

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
    """Return a mask by the documented rule: it depends only on (seed, layer, call, draw)."""
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
    """Data-dependent control flow, which vmap cannot run."""

    def __init__(self):
        super().__init__()
        self.drop, self.linear = nn.Dropout(0.5), nn.Linear(6, 3)

    def forward(self, x):
        x = self.drop(x)
        return self.linear(x if x.sum() > -1e9 else -x)


class Functional(nn.Module):
    """A module that calls functional dropout."""

    def __init__(self, function, p=0.5, **options):
        super().__init__()
        self.function = partial(function, p=p, **options)

    def forward(self, x):
        return self.function(x, training=self.training)


class Beside(nn.Module):
    """Functional dropout and a dropout layer."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.drop = nn.Linear(6, 8), nn.Linear(8, 3), nn.Dropout(0.2)

    def forward(self, x):
        x = F.dropout(torch.relu(self.a(x)), 0.5, training=self.training)
        return self.b(self.drop(x))


class Sequences(nn.Module):
    """A recurrent network with dropout only between its layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.out = nn.GRU(2, 5, 2, dropout=0.5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(self.rnn(x.view(-1, 3, 2))[0][:, -1])


class Transformer(nn.Module):
    """A transformer encoder of two layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(2, 2, 4, dropout=0.3, batch_first=True)
        self.encoder, self.out = nn.TransformerEncoder(layer, 2), nn.Linear(6, 3)

    def forward(self, x):
        return self.out(self.encoder(x.view(-1, 3, 2)).flatten(1))


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


# --- dropout that is not a layer ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "layer"),
    [
        (F.dropout, nn.Dropout),
        (F.dropout1d, nn.Dropout1d),
        (F.dropout2d, nn.Dropout2d),
        (F.alpha_dropout, nn.AlphaDropout),
        (F.feature_alpha_dropout, nn.FeatureAlphaDropout),
        (lambda x, p, training: torch.dropout(x, p, training), nn.Dropout),
        (lambda x, p, training: F.dropout(x, p), nn.Dropout),  # on in eval mode, too
    ],
)
def test_a_function_does_what_its_layer_does(function, layer):
    x = rows(4, 5, 6)
    assert torch.equal(outputs_of(Functional(function, 0.3), x), outputs_of(layer(0.3), x))


def test_functional_dropout_beside_a_layer_has_masks_of_its_own():
    module, x = Beside(), rows(20, 6)
    outputs = outputs_of(module, x)
    for draw in range(S):
        with torch.no_grad():  # the layers come first, then the module that calls the function
            h = torch.relu(module.a(x)) * mask_of(8, 0.5, layer=1, draw=draw) / 0.5
            expected = module.b(h * mask_of(8, 0.2, layer=0, draw=draw) / 0.8)
        assert torch.allclose(outputs[draw], expected, atol=1e-6)


def test_dropout_in_place_changes_its_input():
    class InPlace(nn.Module):
        def forward(self, x):
            F.dropout(x, 0.5, self.training, inplace=True)
            return x

    module, x = InPlace(), rows(4, 6)
    ensemble = ensemble_of(module, x)
    outputs = ensemble(lambda: module(x.clone()))
    assert torch.allclose(outputs[3], x * mask_of(6, 0.5, draw=3) / 0.5)


def test_dropout_of_attention_weights():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend = nn.MultiheadAttention(6, 2, dropout=0.4, batch_first=True)

        def forward(self, x):
            return self.attend(x, x, x, need_weights=False)[0]

    module, x = Attention(), rows(5, 4, 6)
    outputs = outputs_of(module, x)
    attend, owner = module.attend, 1  # the second of its modules
    with torch.no_grad():
        q, k, v = F.linear(x, attend.in_proj_weight, attend.in_proj_bias).chunk(3, dim=-1)
        for draw in range(S):
            mask = mask_of((2, 4, 4), 0.4, layer=owner, draw=draw) / 0.6
            heads = []
            for head, part in enumerate((slice(0, 3), slice(3, 6))):
                weights = torch.softmax(q[..., part] @ k[..., part].mT / 3**0.5, dim=-1)
                heads.append((weights * mask[head]) @ v[..., part])
            expected = attend.out_proj(torch.cat(heads, dim=-1))
            assert torch.allclose(outputs[draw], expected, atol=1e-6)


NOTHING = 1e-12  # a rate so small that every mask keeps everything


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"batch_first": True},
        {"add_bias_kv": True, "add_zero_attn": True},
        {"kdim": 3, "vdim": 5},
    ],
)
@pytest.mark.parametrize("average", [True, False])
def test_attention_without_losses_is_attention(options, average):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend = nn.MultiheadAttention(6, 2, dropout=NOTHING, **options)

        def forward(self, x):
            mask = torch.ones(4, 4).triu(1).bool()
            k, v = x[..., : options.get("kdim", 6)], x[..., : options.get("vdim", 6)]
            rows_first = options.get("batch_first", False)
            x, k, v = (t if rows_first else t.transpose(0, 1) for t in (x, k, v))
            output, weights = self.attend(x, k, v, attn_mask=mask, average_attn_weights=average)
            output = output if rows_first else output.transpose(0, 1)
            return torch.cat([output.flatten(1), weights.flatten(1)], dim=1)

    module, x = Attention().eval(), rows(5, 4, 6)
    with torch.no_grad():
        assert torch.allclose(outputs_of(module, x)[0], module(x), atol=1e-5)


@pytest.mark.parametrize("p", [0.4, NOTHING])
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.1}])
def test_dropout_in_scaled_dot_product_attention(p, options):
    class Attention(nn.Module):
        def forward(self, x):
            return F.scaled_dot_product_attention(x, x, x + 1, dropout_p=p, **options)

    module, x = Attention(), rows(5, 2, 4, 3)
    outputs = outputs_of(module, x)
    scores = x @ x.mT * options.get("scale", 3**-0.5)
    if options.get("is_causal"):
        scores = scores.masked_fill(torch.ones(4, 4).triu(1).bool(), -torch.inf)
    for draw in range(S):
        kept = mask_of((2, 4, 4), p, draw=draw) / (1 - p)
        assert torch.allclose(outputs[draw], torch.softmax(scores, -1) * kept @ (x + 1), atol=1e-5)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "batch_first": True}])
def test_dropout_between_recurrent_layers(kind, options):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = kind(6, 4, 3, dropout=0.5, **options)

        def forward(self, x):
            x, state = self.rnn(x if self.rnn.batch_first else x.transpose(0, 1))
            x = x if self.rnn.batch_first else x.transpose(0, 1)
            states = state if isinstance(state, tuple) else (state,)
            parts = [x, *(part.transpose(0, 1) for part in states)]
            return torch.cat([part.flatten(1) for part in parts], 1)

    torch.manual_seed(0)
    module, x = Recurrent(), rows(3, 5, 6)
    options = {**options, "batch_first": True}
    n_directions = 1 + module.rnn.bidirectional
    layers = [kind(6 if i == 0 else 4 * n_directions, 4, **options) for i in range(3)]
    for i, layer in enumerate(layers):  # the weights of a layer end in _l0, _l1, ...
        for name in dict(layer.named_parameters()):
            setattr(layer, name, getattr(module.rnn, name.replace("_l0", f"_l{i}")))
    outputs = outputs_of(module, x)
    for draw in range(S):
        h, states = x, []
        with torch.no_grad():
            for i, layer in enumerate(layers):
                if i > 0:
                    kept = mask_of(h.shape[1:], 0.5, layer=1, call=i - 1, draw=draw)
                    h = h * kept / 0.5
                h, state = layer(h)
                states.append(state if isinstance(state, tuple) else (state,))
            last = [torch.cat(parts).transpose(0, 1) for parts in zip(*states, strict=True)]
            expected = torch.cat([part.flatten(1) for part in (h, *last)], 1)
            assert torch.allclose(outputs[draw], expected, atol=1e-5)


def test_torch_asks_for_no_issues_to_be_filed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outputs_of(Transformer(), rows(4, 6))

        class DropsFirst(nn.Module):  # attention under all masks at once
            def __init__(self):
                super().__init__()
                self.drop, self.attend = nn.Dropout(0.5), nn.MultiheadAttention(6, 2)

            def forward(self, x):
                x = self.drop(x).transpose(0, 1)
                return self.attend(x, x, x, need_weights=False)[0].transpose(0, 1)

        outputs_of(DropsFirst(), rows(4, 3, 6))


def test_dropout_of_zero_is_left_out():
    module = nn.Sequential(nn.Dropout(0.0), nn.Linear(6, 8), nn.Dropout(0.5))
    x = rows(5, 6)
    with torch.no_grad():
        expected = module[1](x) * mask_of(8, 0.5) / 0.5
    assert torch.allclose(outputs_of(module, x)[0], expected)


# --- a hypothesis is a function -------------------------------------------------------------------


@pytest.mark.parametrize(
    "module",
    [mlp(), Residual(), Branching(), Beside(), Sequences(), Transformer()],
    ids=lambda module: type(module).__name__,
)
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
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules()]
    return state, flags, hooks, torch.get_rng_state(), np.random.get_state()[1].copy()


def assert_same(before, after):
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert before[1:3] == after[1:3]
    assert torch.equal(before[3], after[3])
    assert (before[4] == after[4]).all()


class Keeps(nn.Module):
    """Stores activations: in training, in eval mode, and in a buffer."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 3)
        self.hidden: torch.Tensor | None = None
        self.register_buffer("kept", torch.zeros(1))

    def forward(self, x):
        dropped = F.dropout(x, 0.5, self.training)
        if self.training:
            self.hidden = dropped.detach().clone()
        else:
            self.hidden = self.first = self.kept = dropped
        return self.linear(dropped)


def test_module_and_random_states_are_as_before():
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    module.train()
    module[1].eval()  # mixed flags must not change
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


class Interrupted(nn.Linear):
    """A layer at which the user presses Ctrl-C, in the method ``at``."""

    at = ""

    def _interrupt(self, method):
        if method == self.at:
            self.at = ""
            signal.raise_signal(signal.SIGINT)

    def register_forward_pre_hook(self, *args, **options):
        self._interrupt("register_forward_pre_hook")
        return super().register_forward_pre_hook(*args, **options)

    def register_forward_hook(self, *args, **options):
        self._interrupt("register_forward_hook")
        return super().register_forward_hook(*args, **options)


def predict_with_snapshots(net, x):
    snapshots = {name: p[None].detach().clone() for name, p in net.module_.named_parameters()}
    SnapshotHypotheses(net.module_, snapshots).predict_proba_samples(x)


@pytest.fixture
def ctrl_c_raises():
    """Let SIGINT raise KeyboardInterrupt; a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_raises")
@pytest.mark.parametrize(
    ("predict", "at"),
    [
        (
            lambda net, x: DropoutHypotheses(net, S, 0).predict_proba_samples(x),
            "register_forward_pre_hook",
        ),
        (predict_with_snapshots, "register_forward_hook"),
        (last_layer_features, "register_forward_pre_hook"),
    ],
)
def test_ctrl_c_leaves_no_hooks_in_the_module(predict, at):
    module = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), Interrupted(8, 3))
    net = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss).initialize()
    before = fingerprint(net.module_)
    net.module_[2].at = at
    with pytest.raises(KeyboardInterrupt):
        predict(net, rows(10, 6))
    assert net.module_[2].at == ""
    assert_same(before, fingerprint(net.module_))
    pickle.dumps(net.module_)  # fails with any hook
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c_raises")
def test_the_first_ctrl_c_waits_for_the_end_of_a_block_and_the_second_does_not():
    for n_presses in (1, 2):
        done = []
        with pytest.raises(KeyboardInterrupt), interrupts_held():
            for press in range(n_presses):
                signal.raise_signal(signal.SIGINT)
                done.append(press)
        assert done == [0]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_module_that_keeps_an_activation_can_be_pickled_after_a_query():
    learner = NeuralNetClassifier(
        Keeps, criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0
    )
    learner.fit(rows(40, 6).numpy(), np.arange(40) % 3)
    balance_query(learner, rows(20, 6).numpy(), 2, tau=0.0, random_state=0)
    again = pickle.loads(pickle.dumps(learner)).module_
    for name in ("hidden", "first", "kept"):
        kept = getattr(learner.module_, name)
        assert kept.numpy().shape[1] == 6 and torch.equal(getattr(again, name), kept)


def test_another_thread_may_predict_with_the_module_meanwhile():
    inside, go = threading.Event(), threading.Event()

    class Waits(nn.Module):
        def forward(self, x):
            if threading.current_thread() is not threading.main_thread():
                inside.set()
                go.wait(60)
            return x

    module = nn.Sequential(Waits(), nn.Dropout()).eval()
    with ThreadPoolExecutor(1) as pool:
        with DropoutCalls(module, lambda site, dropout, x: x):
            other = pool.submit(module, torch.ones(2))
            assert inside.wait(60)
        with DropoutCalls(module, lambda site, dropout, x: x + 1):
            go.set()
            assert other.result(60).tolist() == [1, 1]
            assert module(torch.ones(2)).tolist() == [2, 2]


def test_a_copy_has_no_hooks_of_another_thread():
    module = nn.Linear(2, 2)
    with ThreadPoolExecutor(1) as pool:
        with undisturbed(module):
            hook = module.register_forward_hook(print)
            copied = pool.submit(copy_of, module)
            with pytest.raises(TimeoutError):
                copied.result(0.2)
            hook.remove()
        assert not copied.result(60)._forward_hooks


def test_undisturbed_restores_mixed_training_flags():
    module = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()))
    module[1][0].eval()
    flags = [m.training for m in module.modules()]
    with undisturbed(module):
        assert not any(m.training for m in module.modules())
    assert [m.training for m in module.modules()] == flags


# --- what cannot be a hypothesis ------------------------------------------------------------------


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return x


class Trained(nn.Module):
    """Dropout that is not called in eval mode."""

    def forward(self, x):
        return F.dropout(x, 0.5) if self.training else x


@pytest.mark.parametrize(
    "module",
    [nn.Linear(6, 3), nn.Sequential(nn.Dropout(0.0)), Unused(), Trained()],
    ids=["linear", "zero", "unused", "trained"],
)
def test_a_module_that_drops_nothing_is_told_what_works(module):
    with pytest.raises(ValueError) as error:
        outputs_of(module, rows(4, 6))
    assert "no dropout to sample: its forward pass calls no dropout" in str(error.value)
    for way in ("BootstrapCommittee(net)", "a list of several trained", 'posterior="ensemble"'):
        assert way in str(error.value)


class OwnAttention(nn.Module):
    """Attention as it is written in many transformers."""

    def __init__(self):
        super().__init__()
        self.dropout = 0.1

    def forward(self, x):
        p = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(x, x, x, dropout_p=p)


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(6, 4, 2, dropout=0.5, batch_first=True)

    def forward(self, x):
        lengths = torch.full((len(x),), x.shape[1])
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return self.rnn(packed)[1][0][-1]


class OwnForward(nn.Dropout):
    def forward(self, x):
        return x * torch.empty_like(x).bernoulli_(1 - self.p) if self.training else x


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (OwnAttention(), "module (OwnAttention)"),
        (Packed(), "rnn (LSTM)"),
        (OwnForward(), "module (OwnForward)"),
    ],
    ids=["attention", "packed", "forward"],
)
def test_dropout_that_cannot_be_sampled_is_named(module, name):
    with pytest.raises(ValueError) as error:
        outputs_of(module, rows(4, 3, 6))
    assert f"the dropout of {name} cannot be sampled" in str(error.value)
    beside = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), module)
    assert ensemble_of(beside, rows(4, 3, 6)).unseen == [
        name.replace("module", "2").replace("rnn", "2.rnn")
    ]


def test_noise_that_is_always_on_is_refused():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x) + torch.randn_like(x)

    with pytest.raises(ValueError, match="different outputs for the same row in eval mode"):
        outputs_of(Noisy(), rows(4, 60))


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

    with pytest.raises(ValueError, match="a fixed mask cannot fit both"):
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


# --- memory and speed -----------------------------------------------------------------------------


class Hungry(nn.Module):
    """A module that runs out of memory for more than a few rows."""

    def __init__(self, most_rows):
        super().__init__()
        self.drop, self.most_rows, self.seen = nn.Dropout(0.5), most_rows, []

    def forward(self, x):
        self.seen.append(len(x))
        torch.empty(2**50 if len(x) > self.most_rows else 0)
        return self.drop(x)


def test_out_of_memory_halves_the_rows_and_keeps_all_masks_at_once(capsys):
    module, x = Hungry(3), rows(10, 6)
    ensemble = ensemble_of(module, x)
    module.seen.clear()
    blocks = Blocks(verbose=1)
    outputs = blocks.predict(lambda part: ensemble(lambda: module(part)), x)
    assert module.seen == [10, 5, 2, 2, 2, 2, 2]  # never once for each mask
    assert torch.equal(outputs, outputs_of(Hungry(10), x))
    assert "Out of memory with 10 rows at once: continuing with 5." in capsys.readouterr().err
    module.most_rows = 0
    with pytest.raises(RuntimeError, match="memory"):
        blocks.predict(lambda part: ensemble(lambda: module(part)), x)


def test_out_of_memory_halves_the_rows_of_snapshots_too():
    class HungryLinear(nn.Linear):
        seen = []

        def forward(self, x):
            self.seen.append(len(x))
            torch.empty(2**50 if len(x) > 3 else 0)
            return super().forward(x)

    module, x = HungryLinear(6, 3), rows(10, 6)
    hypotheses = SnapshotHypotheses(module, {"weight": rows(S, 3, 6), "bias": rows(S, 3)})
    proba = hypotheses.predict_proba_samples(x)
    assert module.seen == [1, 10, 5, 2, 2, 2, 2, 2]
    expected = torch.stack(
        [(x @ w.T + b).softmax(1) for w, b in zip(rows(S, 3, 6), rows(S, 3), strict=True)]
    )
    assert torch.allclose(proba, expected, atol=1e-6)


def test_one_pass_per_mask_is_announced_when_asked_for(capsys):
    for verbose, announced in ((0, False), (1, True)):
        module, x = Branching(), rows(4, 6)
        ensemble = DropoutEnsemble(module, S, 0, verbose=verbose)
        ensemble.trace(lambda: module(x[:1]), lambda: module(x[[0, 0]]))  # noqa: B023
        ensemble(lambda: module(x))  # noqa: B023
        assert ("cannot run under all masks at once" in capsys.readouterr().err) == announced
