"""Formulas as MathML, which browsers draw themselves: pages need no script from elsewhere."""

from __future__ import annotations

from html import escape

from docutils import nodes
from latex2mathml.converter import convert


def visit_inline(translator, node):
    """Write a formula in a line of text."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_block(translator, node):
    """Write a formula that stands alone, which can be scrolled where the screen is narrow."""
    number = f'<span class="eqno">({escape(str(node["number"]))})</span>' if node["number"] else ""
    formula = convert(node.astext(), display="block")
    anchor = f' id="{node["ids"][0]}"' if node.get("ids") else ""
    translator.body.append(f'<div class="formula"{anchor}>{formula}{number}</div>')
    raise nodes.SkipNode


def setup(app):
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
