"""Networks of a user as ``MCDropoutClassifier(module=...)``: what they may do, and messages."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from toy import IRIS, quick

from modal_balance import CyclicalSGLD

X, y = IRIS[0].astype(np.float32), IRIS[1]
FEW_STEPS = CyclicalSGLD(n_cycles=1, steps_per_cycle=20, samples_per_cycle=2)
POSTERIORS = ["dropout", "ensemble", FEW_STEPS]


def own(module, **parameters):
    return quick(module=module, **({"n_steps": 20, "n_members": 2} | parameters))


class Network(nn.Module):
    """One hidden layer, behind a step that may change the input in place."""

    def __init__(self, n_features, n_classes, *, dropout=0.3, in_place=False, dtype=torch.float32):
        super().__init__()
        self.hidden = nn.Linear(n_features, 8)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(8, n_classes)
        self.in_place, self.dtype = in_place, dtype

    def forward(self, X):
        if self.in_place:
            X -= 0.5
            X *= 2
        else:
            X = (X - 0.5) * 2
        return self.out(self.dropout(torch.relu(self.hidden(X)))).to(self.dtype)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("validation", ["cv", 0.3])
@pytest.mark.parametrize("posterior", POSTERIORS, ids=str)
def test_a_network_may_change_its_input_in_place(posterior, validation, dropout):
    """It learns from the same rows in every step, and the user's rows stay as they are."""
    settings = {"normalise": False, "posterior": posterior, "validation": validation}
    plain = own(partial(Network, dropout=dropout), **settings).fit(X, y)
    rows = X.copy()
    changing = own(partial(Network, dropout=dropout, in_place=True), **settings).fit(rows, y)
    assert changing.validation_error_ == plain.validation_error_
    np.testing.assert_allclose(changing.predict_proba(rows), plain.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(rows, X)


def test_pretrained_layers_are_the_start_of_every_fit_and_stay_as_they_are():
    body = nn.Linear(4, 8)
    before = body.weight.detach().clone()
    settings = {"posterior": "ensemble", "n_steps": 10}
    classifier = own(lambda n, k: nn.Sequential(body, nn.Dropout(0.3), nn.Linear(8, k)), **settings)
    first = classifier.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(classifier.fit(X, y).predict_proba(X), first)
    assert torch.equal(body.weight, before) and body.weight.grad is None
    weights = [net.module_[0].weight for net in classifier._posterior.nets]
    assert not torch.equal(*weights)
    # They may be frozen.
    body.requires_grad_(False)
    assert torch.equal(classifier.fit(X, y).net_.module_[0].weight, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("posterior", POSTERIORS, ids=str)
@pytest.mark.parametrize("validation", [None, 0.3])
def test_logits_of_another_precision_are_trained_and_predicted_in_float32(
    dtype, posterior, validation
):
    settings = {"posterior": posterior, "validation": validation}
    classifier = own(partial(Network, dtype=dtype), **settings).fit(X, y)
    plain = own(Network, **settings).fit(X, y)
    np.testing.assert_allclose(classifier.predict_proba(X), plain.predict_proba(X), atol=0.1)
    proba = classifier.draw_hypotheses(2, random_state=0).predict_proba_samples(X)
    assert proba.dtype == torch.float32
    torch.testing.assert_close(proba.sum(-1), torch.ones(2, len(X)), rtol=0, atol=1e-6)


def test_members_of_an_ensemble_may_have_tied_weights():
    class Tied(nn.Module):
        def __init__(self, n_features, n_classes):
            super().__init__()
            self.first, self.second = (nn.Linear(n_features, n_features) for _ in range(2))
            self.second.weight = self.first.weight
            self.out = nn.Linear(n_features, n_classes)

        def forward(self, X):
            return self.out(torch.relu(self.second(torch.relu(self.first(X)))))

    classifier = own(Tied, posterior="ensemble").fit(X, y)
    proba = classifier.draw_hypotheses(2, random_state=0).predict_proba_samples(X)  # (2, n, C)
    alone = torch.softmax(classifier.net_.module_(classifier.to_inputs(X)), 1)
    assert min((proba[s] - alone).abs().max().item() for s in range(2)) < 1e-6
    assert (proba[0] - proba[1]).abs().max() > 0.01


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda n, k: None, r"module\(4, 3\) returned None. Expected a torch.nn.Module"),
        (lambda n, k: nn.Linear, "returned <class .*Linear'>. Expected a torch.nn.Module"),
        (lambda n, k: nn.Linear(9, k), r"X, of shape \(2, 4\) and torch.float32: .*4 and 9x3"),
        (lambda n, k: nn.Sequential(nn.Linear(n, k), nn.Softmax(1)), "remove the softmax"),
    ],
)
def test_a_module_that_cannot_be_trained_is_an_error_that_says_why(module, message):
    with pytest.raises(ValueError, match=message):
        own(module).fit(X, y)
    with pytest.raises(ValueError, match=message):
        own(module, classes=[0, 1, 2]).fit_unlabelled(X)


def test_an_embedding_of_standardised_integers_is_an_error_that_names_normalise():
    class Words(nn.Module):
        def __init__(self, n_features, n_classes):
            super().__init__()
            self.words = nn.Embedding(9, n_classes)

        def forward(self, X):
            return self.words(X.long()).mean(1)

    numbers = np.random.default_rng(0).integers(0, 9, (len(X), 5))
    with pytest.raises(ValueError, match="integers of an embedding, pass normalise=False"):
        own(Words).fit(numbers, y)
    assert own(Words, normalise=False).fit(numbers, y).predict_proba(numbers).shape == (150, 3)
