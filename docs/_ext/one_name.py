"""Links to a public name by whichever module it is written with.

``modal_balance.estimators.networks.MLP`` and ``modal_balance.estimators.MLP`` are one class, and
the API pages document it once.
"""

from __future__ import annotations

from importlib import import_module

from sphinx.util.nodes import make_refnode


def imported(name):
    """Return the object of a full dotted name, or None."""
    module, _, attribute = name.rpartition(".")
    if not module:
        return None
    try:
        return getattr(import_module(module), attribute, None)
    except ImportError:
        owner = imported(module)
        return getattr(owner, attribute, None) if owner is not None else None


def resolve(app, env, node, content):
    """Return a link to the page of the object that a reference means, if it has one."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("modal_balance."):
        return None
    wanted = imported(target)
    if wanted is None:
        return None
    for name, entry in env.get_domain("py").objects.items():
        if name.rpartition(".")[2] == target.rpartition(".")[2] and imported(name) is wanted:
            document = node["refdoc"]
            return make_refnode(app.builder, document, entry.docname, entry.node_id, content, name)
    return None


def setup(app):
    """Register the look-up."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
