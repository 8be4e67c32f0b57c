"""Gray images as PNG files, and as small images inside a page."""

import base64
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

THUMBNAIL_SIDE = 160
"""Longest side of a thumbnail, in pixels."""

DARKEST, BRIGHTEST = 0.001, 0.999
"""Shares of the pixels that a thumbnail shows black and white."""


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (height, width) losslessly, as 8-bit gray."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def thumbnail_uri(image: NDArray[np.uint8]) -> str:
    """A small image of a frame, uint8 (height, width), with full contrast, as a data URI."""
    factor = max(1, -(-max(image.shape) // THUMBNAIL_SIDE))
    padded = np.pad(image, [(0, -size % factor) for size in image.shape], mode="edge")
    height, width = (size // factor for size in padded.shape)
    small = padded.reshape(height, factor, width, factor).mean(axis=(1, 3))
    low, high = np.quantile(small, [DARKEST, BRIGHTEST])
    gray = ((small - low) / max(high - low, 1) * 255).clip(0, 255).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(png_bytes(gray)).decode()
