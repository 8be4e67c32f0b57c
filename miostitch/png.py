"""Gray pictures as PNG files."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """Encode a picture, losslessly.

    Parameters
    ----------
    image
        uint8 (height, width).

    Returns
    -------
    A whole PNG file, 8-bit gray; the pixels alone decide the bytes.
    """
    height, width = image.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = np.pad(image, ((0, 0), (1, 0)))  # a row begins with its filter: 0, none
    parts = {b"IHDR": header, b"IDAT": zlib.compress(rows.tobytes()), b"IEND": b""}
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in parts.items())


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
