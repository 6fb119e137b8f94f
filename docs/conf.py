"""How Sphinx builds the site: python -m sphinx -W -b html docs docs/_build/html."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).parent
os.environ["TQDM_DISABLE"] = "1"  # no progress bars in what the examples print
sys.path.insert(0, str(HERE / "_ext"))

from modal_balance import __version__  # noqa: E402

project = "modal_balance"
author = "modal_balance developers"
copyright = author
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "gallery",  # this and the next two are in docs/_ext
    "mathml",
    "one_name",
]
templates_path = ["_templates"]
exclude_patterns = [
    "_build",
    "_static",
    "auto_examples/GALLERY_HEADER.rst",
    "evidence/findings.md",  # parts of evidence/index.md and appendix.md
    "evidence/rerun.md",
    "evidence/appendix_head.md",
    "evidence/overview.md",  # a table of choose.md
]

# Links. Everything that names this package must exist; other libraries' pages are not looked up,
# because a build needs no network.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!modal_balance\b).*")]

# API pages
autosummary_generate = True
autosummary_imported_members = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# Markdown
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# The gallery runs every example in its quick form, one after the other.
sphinx_gallery_conf = {
    "examples_dirs": str(HERE.parent / "examples"),
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "reset_argv": "gallery.quick_form",
    "within_subsection_order": "gallery.InOrder",
    "first_notebook_cell": None,
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "remove_config_comments": True,
    "min_reported_time": 10**6,
    "show_signature": False,
    "write_computation_times": False,  # its page loads scripts from elsewhere
    "plot_gallery": "True",
    "backreferences_dir": "api/backreferences",
    "doc_module": ("modal_balance",),
    "matplotlib_animations": False,
}
# What a script draws is shown on its page, not in a window.
warnings.filterwarnings("ignore", message=".*FigureCanvasAgg is non-interactive.*")

# Pages
html_theme = "pydata_sphinx_theme"
html_title = "modal_balance"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "modal_balance"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "navigation_with_keys": False,
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
html_sidebars = {page: [] for page in ("index", "start", "choose", "faq", "own_table")}


def skip_what_others_define(app, what, name, member, skip, options):
    """Leave out members that scikit-learn and others add to a class."""
    module = getattr(member, "__module__", None) or ""
    from_elsewhere = callable(member) and not module.startswith("modal_balance")
    return True if from_elsewhere or name.startswith("set_") else None


def setup(app):
    """Connect to autodoc."""
    app.connect("autodoc-skip-member", skip_what_others_define)
