from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.dataset import Dataset
from torch import nn
from toy import digits, fast_classifier, fitted_classifier, fitted_net, skorch_net

from modal_balance import MCDropoutClassifier
from modal_balance.hypotheses.last_layer import last_layer_features


def same(one, other):
    return all(torch.allclose(a, b, atol=1e-6) for a, b in zip(one, other, strict=True))


@contextmanager
def evaluated(module):
    """A module in eval mode without gradients, for evaluations by hand."""
    with torch.no_grad():
        yield module.eval()


def initialized(module, **parameters):
    torch.manual_seed(0)
    return skorch_net(module, **parameters).initialize()


# --- features of skorch nets ----------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [7, 128, -1])
def test_features_are_what_comes_before_the_last_layer(batch_size):
    X, _ = digits()
    net = fitted_net(batch_size=batch_size)
    features, proba = last_layer_features(net, X)
    with evaluated(net.module_) as module:
        expected = module[:-1](torch.from_numpy(X))
        assert torch.allclose(features, expected, atol=1e-6)
        assert torch.allclose(proba, torch.softmax(module[-1](expected), -1), atol=1e-6)
    assert features.shape == (len(X), 32)
    assert features.dtype == proba.dtype == torch.float32
    assert not features.requires_grad
    assert np.allclose(proba, net.predict_proba(X), atol=1e-6)


def test_a_net_without_dropout_or_hidden_layers_will_do():
    X, _ = digits()
    features, _ = last_layer_features(initialized(nn.Linear(64, 4)), X)
    assert torch.equal(features, torch.from_numpy(X))


def test_every_kind_of_skorch_input_gives_the_same_features():
    X, _ = digits()
    net = fitted_net()
    expected = last_layer_features(net, X)
    for form in (torch.from_numpy(X), X.astype(np.float64), sparse.csr_matrix(X), Dataset(X)):
        assert same(last_layer_features(net, form), expected)


def test_a_custom_dataset_is_read_through_the_nets_iterator():
    class Halved(Dataset):
        def transform(self, X, y):
            return super().transform(X / 2, y)

    X, _ = digits()
    net = fitted_net()
    assert same(last_layer_features(net, Halved(X)), last_layer_features(net, X / 2))


class Named(nn.Module):
    """A module with named inputs, as for dicts and DataFrames."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(2, 5), nn.Linear(5, 4)

    def forward(self, a, b):
        return self.out(torch.tanh(self.hidden(torch.cat([a, b], 1))))


def test_dicts_and_data_frames_reach_the_module_by_name():
    X, _ = digits()
    net = initialized(Named())
    with evaluated(net.module_) as module:
        expected = torch.tanh(module.hidden(torch.from_numpy(X[:, 18:20])))
    parts = {"a": X[:, 18:19], "b": torch.from_numpy(X[:, 19:20])}
    frame = pd.DataFrame(X[:, 18:20], columns=["a", "b"], index=np.arange(len(X)) * 3 + 7)
    for form in (parts, frame):
        assert torch.allclose(last_layer_features(net, form)[0], expected, atol=1e-6)


def test_images_pass_through_a_convolutional_net():
    X, y = digits()
    images = X.reshape(-1, 1, 8, 8)
    module = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout2d(0.5), nn.Flatten(),
        nn.Linear(216, 4),
    )  # fmt: skip
    net = skorch_net(module).fit(images[:40], y[:40])
    features, _ = last_layer_features(net, images)
    with evaluated(net.module_) as module:
        assert torch.allclose(features, module[:-1](torch.from_numpy(images)), atol=1e-6)


def test_a_compiled_net_is_read_uncompiled():
    X, _ = digits()
    net = fitted_net(compile=True, compile__backend="eager")
    compiled = net.module_
    predicted = net.predict_proba(X)
    features, proba = last_layer_features(net, X)
    with evaluated(compiled._orig_mod) as module:
        assert torch.allclose(features, module[:-1](torch.from_numpy(X)), atol=1e-6)
    assert np.allclose(proba, predicted, atol=1e-6)
    assert net.module_ is compiled


@pytest.mark.parametrize(("dtype", "expected"), [("float64", "float64"), ("bfloat16", "float32")])
def test_features_have_the_precision_of_the_module(dtype, expected):
    X, _ = digits()
    net = initialized(nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4)))
    single = last_layer_features(net, X)
    net.module_.to(getattr(torch, dtype))
    for part, exact in zip(last_layer_features(net, X), single, strict=True):
        assert part.dtype == getattr(torch, expected)
        assert torch.allclose(part, exact.to(part.dtype), atol=2e-2)


# --- which layer is the output layer --------------------------------------------------------------


class Headed(nn.Module):
    """A module with a custom head, which also returns the expected features."""

    def __init__(self, head):
        super().__init__()
        self.hidden, self.block, self.head = nn.Linear(64, 16), nn.Linear(16, 16), head
        self.last, self.skip, self.out = nn.Linear(4, 4), nn.Linear(16, 4), nn.Linear(16, 4)
        self.decoder, self.unused = nn.Linear(16, 64), nn.Linear(3, 4)

    def forward(self, x):
        return self.head(self, torch.relu(self.hidden(x)))


def residual(net, h):
    h = h + torch.relu(net.block(h))
    return net.skip(h) + net.out(h * 2), h * 2


def last_to_run_but_first_declared(net, h):
    narrow = net.out(h)  # as narrow as the output
    return net.last(narrow), narrow


def followed_by_another_width(net, h):
    return net.out(h), h, net.decoder(h * 2)


def called_twice_and_by_keyword(net, h):
    net.out(h * 5)
    return net.out(input=h), h


def overwritten_later(net, h):
    expected = h.clone()
    logits = net.out(h)
    h.zero_()
    return logits, expected


@pytest.mark.parametrize(
    "head",
    [
        residual,
        last_to_run_but_first_declared,
        followed_by_another_width,
        called_twice_and_by_keyword,
        overwritten_later,
    ],
)
def test_features_are_those_of_the_last_layer_that_runs_with_one_output_per_class(head):
    X, _ = digits()
    net = initialized(Headed(head), predict_nonlinearity=lambda z: torch.softmax(z / 10, -1))
    features, proba = last_layer_features(net, X)
    with evaluated(net.module_) as module:
        logits, expected = module(torch.from_numpy(X))[:2]
    assert same((features, proba), (expected, torch.softmax(logits / 10, -1)))


# --- classifiers and pipelines --------------------------------------------------------------------


def test_a_classifier_is_taken_as_one_network_without_dropout():
    X, _ = digits()
    classifier = fitted_classifier()
    features, proba = last_layer_features(classifier, X.astype(np.float64))
    with evaluated(classifier.net_.module_.layers) as layers:
        expected = layers[:-1](classifier.to_inputs(X))
        assert torch.allclose(features, expected, atol=1e-6)
        assert torch.allclose(proba, torch.softmax(layers[-1](expected), -1), atol=1e-6)
    assert not np.allclose(proba, classifier.predict_proba(X), atol=1e-3)
    assert same(last_layer_features(classifier, X.tolist()), (features, proba))
    with pytest.raises(ValueError, match="X has 63 features"):
        last_layer_features(classifier, X[:, :63])


def test_a_pipeline_transforms_first():
    X, y = digits()
    X = X.astype(np.float64)
    scaler = StandardScaler()
    pipeline = make_pipeline(scaler, fast_classifier()).fit(X[:40], y[:40])
    expected = last_layer_features(pipeline[-1], scaler.transform(X))
    assert same(last_layer_features(pipeline, X), expected)

    net = skorch_net()
    pipeline = make_pipeline(scaler, FunctionTransformer(np.float32), net).fit(X[:40], y[:40])
    expected = last_layer_features(net, scaler.transform(X))
    assert same(last_layer_features(pipeline, X), expected)
    alone = Pipeline([("net", net)])
    assert same(last_layer_features(alone, X), last_layer_features(net, X))


# --- no side effects ------------------------------------------------------------------------------


class Mine(Dataset):
    """Read through a data loader, which draws a seed from torch's global state."""


class Fails(nn.Module):
    """Linear, until a batch holds a row of sevens; draws random numbers on the way."""

    def __init__(self):
        super().__init__()
        self.norm, self.out = nn.BatchNorm1d(64), nn.Linear(64, 4)

    def forward(self, x):
        torch.rand(3)
        logits = self.out(self.norm(x))
        if (x == 7).all(1).any():
            raise OSError("a row of sevens")
        return logits


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_disturbed_whatever_happens(fails):
    X = digits()[0].copy()
    net = initialized(Fails())
    module = net.module_.train()
    module.out.eval()
    module.out.register_forward_pre_hook(lambda *_: None)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    X[600] = 7 if fails else X[600]
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), X.copy()
    for form in (X, Mine(X)):
        if fails:
            with pytest.raises(OSError, match="sevens"):
                last_layer_features(net, form)
        else:
            last_layer_features(net, form)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert (X == before[2]).all()
    assert [m.training for m in module.modules()] == [True, True, False]
    assert [len(m._forward_pre_hooks) for m in module.modules()] == [0, 0, 1]
    assert torch.is_grad_enabled()
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())


# --- errors ---------------------------------------------------------------------------------------


def test_a_module_without_linear_layers_is_refused():
    X, _ = digits()
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(
        ValueError, match=r"Sequential has no output layer.*nn.Linear\(n_features, 4"
    ):
        last_layer_features(initialized(module), X.reshape(-1, 1, 8, 8))


def test_a_batch_that_does_not_reach_the_output_layer_is_refused():
    class Shortcut(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(64, 4)

        def forward(self, x):
            return x[:, :4] if (x == 7).any() else self.out(x)

    X = digits()[0].copy()
    net = initialized(Shortcut())
    last_layer_features(net, X)
    X[600] = 7
    with pytest.raises(ValueError, match="no nn.Linear runs"):
        last_layer_features(net, X)


def test_an_output_layer_must_be_as_wide_as_the_prediction():
    X, _ = digits()
    module = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1))
    net = NeuralNetBinaryClassifier(module, verbose=0).initialize()
    message = (
        r"Sequential predicts 2 classes.*2 outputs \(2 has 1, 0 has 8\).*nn.Linear\(n_features, 2"
    )
    with pytest.raises(ValueError, match=message):
        last_layer_features(net, X)


def test_each_row_must_have_one_vector_of_features():
    class Words(nn.Module):
        def __init__(self, *shape):
            super().__init__()
            self.shape, self.out = shape, nn.Linear(8, 4)

        def forward(self, x):
            return self.out(x.view(-1, *self.shape)).view(-1, 8, 4).mean(1)

    X, _ = digits()
    with pytest.raises(ValueError, match=r"Words.*out, with .*\(128, 8, 8\) for 128 rows.*pool or"):
        last_layer_features(initialized(Words(8, 8)), X)
    with pytest.raises(ValueError, match=r"Words.*\(1024, 8\) for 128 rows"):
        last_layer_features(initialized(Words(8)), X)


def test_rows_that_do_not_fit_and_predictions_that_are_none_are_refused():
    X, _ = digits()
    net = fitted_net()
    with pytest.raises(ValueError, match=r"Sequential cannot be run on a row of X, shape \(1, 5\)"):
        last_layer_features(net, X[:, :5])
    with pytest.raises(ValueError, match="X has no rows"):
        last_layer_features(net, X[:0])
    spoilt = X.copy()
    spoilt[600, 3] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        last_layer_features(net, spoilt)
    with pytest.raises(ValueError, match="prediction has a row that sums to .*CrossEntropyLoss"):
        last_layer_features(fitted_net(predict_nonlinearity=None), X)


def test_estimators_without_a_fitted_network_are_refused():
    X, y = digits()
    net = NeuralNetClassifier(nn.Linear(64, 4))
    pipeline = make_pipeline(FunctionTransformer(), MCDropoutClassifier())
    for estimator in (MCDropoutClassifier(), net, pipeline):
        with pytest.raises(NotFittedError):
            last_layer_features(estimator, X)
    with pytest.raises(TypeError, match="LogisticRegression has no network.*MCDropoutClassifier"):
        last_layer_features(LogisticRegression().fit(X[:40], y[:40]), X)
