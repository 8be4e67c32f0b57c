"""Gray images as PNG files."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (height, width) losslessly, as 8-bit gray."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
