"""Public docstrings are complete, and say what the signatures say."""

import importlib
import inspect
import pkgutil

import pytest
from numpydoc.docscrape import FunctionDoc
from test_docs import DOCS, documented

import modal_balance


def public_callables():
    """Yield every public function and class of every module, with its full name."""
    modules = [modal_balance] + [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(modal_balance.__path__, "modal_balance.")
    ]
    seen = set()
    for module in modules:
        for name, thing in vars(module).items():
            ours = getattr(thing, "__module__", "").startswith("modal_balance")
            if name.startswith("_") or not ours or not callable(thing) or thing in seen:
                continue
            if inspect.isfunction(thing) or inspect.isclass(thing):
                seen.add(thing)
                yield pytest.param(thing, id=f"{thing.__module__}.{thing.__qualname__}")


def parameters_of(thing):
    parameters = inspect.signature(thing).parameters.values()
    stars = {inspect.Parameter.VAR_POSITIONAL: "*"}
    named = [p for p in parameters if p.name not in ("self", "args", "kwargs")]
    return [stars.get(p.kind, "") + p.name for p in named]


def is_protocol_or_named_tuple(thing):
    return inspect.isclass(thing) and (
        getattr(thing, "_is_protocol", False) or issubclass(thing, (tuple, Warning))
    )


@pytest.mark.parametrize("thing", list(public_callables()))
def test_documented_parameters_are_those_of_the_signature(thing):
    documentation = FunctionDoc(thing)
    assert documentation["Summary"], "no summary"
    if is_protocol_or_named_tuple(thing):
        return
    documented = [
        name.strip()
        for parameter in documentation["Parameters"]
        for name in parameter.name.split(",")
    ]
    if documented or thing.__qualname__ in modal_balance.__all__:
        assert documented == parameters_of(thing)


@pytest.mark.parametrize("name", list(documented()) if DOCS.exists() else [])
def test_names_of_the_reference_have_documented_parameters_and_an_example(name):
    module, _, name = name.rpartition(".")
    thing = getattr(importlib.import_module(module), name)
    if getattr(thing, "_is_protocol", False):
        pytest.skip("a protocol")
    documentation = FunctionDoc(thing)
    assert documentation["Examples"]
    if not is_protocol_or_named_tuple(thing):
        assert documentation["Parameters"] or not parameters_of(thing)


def test_public_names_are_sorted_and_exist():
    assert sorted(modal_balance.__all__) == modal_balance.__all__
    assert all(hasattr(modal_balance, name) for name in modal_balance.__all__)
