"""``{gallery}``: reports that the build makes, to look at as a reader of the site."""

import shutil
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from docutils import nodes
from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import miostitch

FOLDER = "gallery"
SIZE = {"height": 80, "width": 80, "seed": 3}


class Example(NamedTuple):
    """A report of the gallery."""

    name: str
    title: str
    text: str
    session: miostitch.SimulationConfig
    by: str = "frame"
    denoise: bool = False


EXAMPLES = (
    Example(
        "by-frame",
        "Two receivers, by frame",
        "The best frame of the two, as stitch does without an option.",
        miostitch.SimulationConfig(frames=200, buffer_loss=0.01, **SIZE),
    ),
    Example(
        "by-buffer",
        "The same session, by buffer",
        "Frames combined from what both received: fewer are damaged.",
        miostitch.SimulationConfig(frames=200, buffer_loss=0.01, **SIZE),
        by="buffer",
    ),
    Example(
        "poor-reception",
        "Three receivers with poor reception",
        "Every receiver lost much; what nobody received stays damaged, and the report says where.",
        miostitch.SimulationConfig(frames=200, receivers=3, buffer_loss=0.15, **SIZE),
        by="buffer",
    ),
    Example(
        "restarts",
        "A device that was restarted twice",
        "The frame counter begins again; runs between restarts are told apart.",
        miostitch.SimulationConfig(frames=400, resets=2, **SIZE),
    ),
    Example(
        "denoised",
        "Denoised",
        "Noisy frames removed, the background subtracted.",
        miostitch.SimulationConfig(frames=200, buffer_loss=0.01, corruption=0.05, **SIZE),
        denoise=True,
    ),
)


def make_report(example: Example, target: Path) -> None:
    """Simulate a session, stitch it, and keep the report."""
    with TemporaryDirectory(prefix="miostitch-docs-") as name:
        folder = Path(name)
        made = miostitch.simulate(folder, example.session)
        paths = [*map(str, made.recordings)]
        if example.denoise:
            miostitch.workflow_files(paths, "denoise_calcium_imaging", folder / "out")
        else:
            miostitch.stitch_files(paths, folder / "out", by=example.by)
        [report] = sorted((folder / "out").rglob("*_report.html"))[-1:]
        shutil.copyfile(report, target / f"{example.name}.html")


class Gallery(SphinxDirective):
    """The directive."""

    def run(self) -> list[Node]:
        """List the reports, with links."""
        items = "".join(
            f'<li><a href="../{FOLDER}/{each.name}.html">{escape(each.title)}</a>: '
            f"{escape(each.text)}</li>"
            for each in EXAMPLES
        )
        return [nodes.raw("", f"<ul>{items}</ul>", format="html")]


def make_reports(app: Sphinx, exception: Exception | None) -> None:
    """Put the reports next to the finished pages."""
    if exception is None and app.builder.format == "html":
        target = Path(app.outdir, FOLDER)
        target.mkdir(exist_ok=True)
        for example in EXAMPLES:
            make_report(example, target)


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive, and make the reports when all pages are written."""
    app.add_directive("gallery", Gallery)
    app.connect("build-finished", make_reports)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
