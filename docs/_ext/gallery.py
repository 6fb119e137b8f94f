"""Which form of the examples the gallery runs, in which order, and how pictures are framed."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from PIL import Image
from sphinx_gallery.directives import imgsgnode

ORDER = [
    "plot_toy.py",
    "plot_quickstart.py",
    "plot_first_picks.py",
    "plot_batch_spread.py",
    "plot_edges_cut.py",
    "plot_committee.py",
    "plot_mixed_data_frame.py",
    "plot_asynchronous.py",
    "plot_images.py",
    "plot_pairings.py",
    "plot_figure1_equivalence_classes.py",
    "plot_figure2_queries.py",
    "plot_figure10_dispersion.py",
]


def quick_form(gallery_conf, script_vars):
    """Return the arguments that an example is called with."""
    return ["--quick"]


class InOrder:
    """Sort examples as ``ORDER`` has them; others follow by name."""

    def __init__(self, source_dir):
        self.source_dir = source_dir

    def __repr__(self):
        return "<InOrder>"

    def __call__(self, filename):
        """Return the key of an example."""
        position = ORDER.index(filename) if filename in ORDER else len(ORDER)
        return f"{position:03d} {filename}"


def frame_pictures(app, doctree):
    """Put every picture of several panels into a box of its own, in which it can be scrolled."""
    for picture in list(doctree.findall(imgsgnode)):
        with Image.open(Path(app.srcdir) / picture["uri"].lstrip("/")) as image:
            several_panels = image.width > 700
        if several_panels:
            box = nodes.container(classes=["wide"])
            picture.replace_self(box)
            box += picture


def setup(app):
    """Connect to the reading of pages."""
    app.connect("doctree-read", frame_pictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
