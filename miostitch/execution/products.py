"""Every product of a result, by what its name adds to the stem."""

import re
from dataclasses import dataclass
from pathlib import PurePath

STORE, VIDEO, TABLE, SUMMARY = ".zarr", ".avi", ".csv", ".json"
TIMESTAMPS, SCORES, NOISE = "_timestamps.csv", "_scores.csv", "_noise.csv"
DEBUG, UNRECOVERABLE, REPORT = "_debug.avi", "_unrecoverable", "_report.html"
DENOISED_STEM = "_denoised"  # Ending of the stem of a denoised result


@dataclass(frozen=True)
class Product:
    """A product, and how it follows the frames of its result."""

    suffix: str
    what: str
    frame_column: str = ""  # Of a table with one line per frame: the column that counts them
    of_rows: bool = False  # Whether it tells of the rows of a frame, not of its pixels
    stitched: bool = True  # Whether a stitch may make it


PRODUCTS = (
    Product(STORE, "the frames and all that is known of them"),
    Product(VIDEO, "the frames"),
    Product(TABLE, "the buffers"),
    Product(TIMESTAMPS, "when each frame was received", "frame", of_rows=True),
    Product(SCORES, "the candidates of each frame", "index", of_rows=True),
    Product(DEBUG, "the candidates next to each other"),
    Product(UNRECOVERABLE + VIDEO, "the frames lost by all receivers"),
    Product(UNRECOVERABLE + TABLE, "the buffers of these"),
    Product(REPORT, "the quality report"),
    Product(NOISE, "noisy pixels of each frame", "reconstructed_frame_index", stitched=False),
    Product(SUMMARY, "the summary"),
)
"""In the order of publishing; the summary comes last, as the sign of success."""

EDITED = tuple(product.suffix for product in PRODUCTS)
STITCHED = tuple(product.suffix for product in PRODUCTS if product.stitched)
LINE_TABLES = {p.suffix: p.frame_column for p in PRODUCTS if p.frame_column}
"""Tables that have one line per frame, and the column that counts the frames."""

OF_ROWS = tuple(product.suffix for product in PRODUCTS if product.of_rows)
SYSTEM_FILES = re.compile(
    r"\._.*|~\$.*|\.~lock\..*|\.ds_store|\.directory|thumbs\.db|ehthumbs.*\.db|desktop\.ini|\.nfs.*|\.fuse_hidden.*|@eadir",
    re.IGNORECASE,
)
"""Names of what systems, storage devices and office programs leave in any folder."""

NAMED = (VIDEO, STORE)
"""Products by which a user can name a result."""


def is_of_system(place: PurePath) -> bool:
    """Whether a file, or a folder that it is in, was left by an operating system."""
    return any(SYSTEM_FILES.fullmatch(part) for part in place.parts)
