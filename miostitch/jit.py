"""How loops are compiled: kernels, which Python calls, and the parts they are made of.

None of them holds the GIL or starts threads, as dask owns the cores; sums are exact integers,
hence never ``fastmath``.
"""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., object])


def kernel(signature: object) -> Callable[[_Function], _Function]:
    """Compile on import, or load from the disk, for this one signature.

    One signature each is what makes numba's disk cache safe when several processes fill it at
    once: it numbers the files of a function's signatures, and two processes that compiled
    different ones would give them the same number. As it is they can only replace a file by its
    equal.

    Where nothing can be kept, as where neither the package nor the home can be written, every
    process compiles anew.

    Parameters
    ----------
    signature
        Types of result and arguments. Declare an array that is only read ``readonly``; it then
        takes writable ones as well.
    """

    def compiled(function: _Function) -> _Function:
        try:
            made = njit(signature, nogil=True, cache=True)(function)
        except (RuntimeError, OSError):  # no folder or space to keep it; all else comes again
            made = njit(signature, nogil=True)(function)
        return cast("_Function", made)

    return compiled


def part(function: _Function) -> _Function:
    """Compile into the kernels that call it, for whatever types they pass.

    It has no files of its own in the disk cache, as its signatures may be many.

    Parameters
    ----------
    function
        Written above the kernels that call it.
    """
    return cast("_Function", njit(nogil=True)(function))
