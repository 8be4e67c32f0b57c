"""The page of a report: one file of HTML that needs nothing else.

Names of files and whatever else comes from outside pass through the template's escaping, in the
text as in the JSON that the scripts read; the page forbids itself every other script and every
request.
"""

import base64
import hashlib
import re
import shlex
import zlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from numpy.typing import NDArray

from miostitch.arrays import F64, I64
from miostitch.errors import merge_texts
from miostitch.report.data import ReportData
from miostitch.report.statistics import binned, tracks

TEMPLATES = Path(__file__).with_name("templates")
STYLES = ("palette.css", "report.css")
BOKEH = ("bokeh.min.js", "bokeh-api.min.js")
# Most bytes of a compressed timeline, and most counts of it, which the browser holds; beyond, more
# frames share its finest bin.
TIMELINE_BYTES, TIMELINE_CELLS = 900_000, 2**23
PLAIN_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
COMPRESSION = 3  # what more costs in time it does not give in size


def render(facts: Mapping[str, Any]) -> str:
    """Make the page of the variables of its template."""
    bokeh, script = _bokeh(), (TEMPLATES / "report.js").read_text("utf-8")
    page: str = _template().render(
        **facts,
        style="".join((TEMPLATES / name).read_text("utf-8") for name in STYLES),
        bokeh=bokeh,
        script=script,
        policy=_policy([bokeh, script]),
        version=version("miostitch"),
        bokeh_version=version("bokeh"),
    )
    return page


def timeline(data: ReportData) -> dict[str, Any]:
    """Pack what is known of every frame for the browser, which bins it as the zoom asks.

    Returns: JSON values: ``frames``, ``step`` (frames per count: 1 unless the recording is so long
    that the page would grow too large), ``start`` (Unix time of the first frame, or null),
    ``duration`` in s, ``tracks``, ``frame_num`` and ``time`` (those of the first frame of every
    step, as differences).
    """
    tracks_at_most = 3 * len(data.names) + 4
    step = max(1, -(-data.count * tracks_at_most // TIMELINE_CELLS))
    while True:
        packed = {name: _pack(binned(values, step), step) for name, values in tracks(data)}
        number = _pack_numbers(data.frames.frame_num[::step])
        time = _pack_times(data.clock.time[::step])
        if (
            sum(len(each["data"]) for each in (number, time, *packed.values()))
            <= TIMELINE_BYTES * 4 / 3
        ):
            break
        step *= 2
    return {
        "frames": data.count,
        "step": step,
        "start": data.clock.start,
        "duration": data.clock.duration,
        "interval": 1 / float(data.clock.fps or data.fps),
        "recordings": len(data.names),
        "tracks": packed,
        "frame_num": number,
        "time": time,
    }


def _pack(counts: NDArray[np.unsignedinteger[Any]], step: int) -> dict[str, str]:
    if step == 1:
        return _packed("bits", np.packbits(counts, bitorder="little"))
    return _packed(counts.dtype.name, counts)


def _pack_times(times: F64) -> dict[str, Any]:
    """Times as how far they are from evenly spread ones, which are small numbers."""
    interval = float(times[-1] - times[0]) / max(len(times) - 1, 1)
    unit = min(0.01, interval / 4) or 0.01
    off = np.rint((times - interval * np.arange(len(times))) / unit).astype(np.int64)
    return _pack_numbers(off) | {"interval": interval, "unit": unit}


def _pack_numbers(numbers: I64) -> dict[str, str]:
    first, steps = int(numbers[0]), np.diff(numbers)
    least, most = steps.min(initial=0), steps.max(initial=0)
    for dtype in (np.int8, np.int16, np.int32):
        if np.iinfo(dtype).min <= least and most <= np.iinfo(dtype).max:
            return _packed(np.dtype(dtype).name, steps.astype(dtype)) | {"first": str(first)}
    return _packed("float64", steps.astype(np.float64)) | {"first": str(first)}


def _packed(dtype: str, values: NDArray[Any]) -> dict[str, str]:
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    data = zlib.compress(values.tobytes(), COMPRESSION)
    return {"dtype": dtype, "data": base64.b64encode(data).decode()}


def _policy(scripts: Iterable[str]) -> str:
    """Content security policy: these scripts, inline styles and images, nothing from outside."""
    digests = (hashlib.sha256(each.encode()).digest() for each in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def render_plain(template: Path, facts: Mapping[str, Any]) -> str:
    """Make a page without scripts, in the style of the report, of a template elsewhere."""
    page: str = (
        _environment(template.parent)
        .get_template(template.name)
        .render(
            **facts,
            style="".join((TEMPLATES / name).read_text("utf-8") for name in STYLES),
            policy=PLAIN_POLICY,
            version=version("miostitch"),
        )
    )
    return page


@cache
def _template() -> Any:
    return _environment(TEMPLATES).get_template("report.html")


def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "quote": shlex.quote,
        "repr": repr,
        "breakable": _breakable,
        "merged": merge_texts,
    }
    return environment


def _breakable(text: str) -> Markup:
    """A text whose long words may be broken behind underscores and slashes."""
    return Markup(re.sub(r"[_/]+(?=[^_/])", r"\g<0><wbr>", str(escape(text))))


def _bokeh() -> str:
    """BokehJS; the Python side of Bokeh, which takes half a second to import, is not needed."""
    spec = find_spec("bokeh")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0], "server", "static", "js")
    text = "\n".join((folder / name).read_text("utf-8") for name in BOKEH)
    return text.replace("</script", r"<\/script")
