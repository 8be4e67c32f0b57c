"""How loops are compiled: kernels, which Python calls, and the parts they are made of.

None of them holds the GIL or starts threads, as dask owns the cores; sums are exact integers,
hence never ``fastmath``.
"""

from collections.abc import Callable
from functools import update_wrapper
from threading import Lock
from typing import Any, TypeVar, cast

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., object])
_compiling = Lock()  # threads begin together, and one of them is enough


class Kernel:
    """A function that is compiled, or loaded from the disk, when it is first called.

    Where nothing can be kept, as where neither the package nor the home can be written, every
    process compiles anew.
    """

    def __init__(self, function: Callable[..., object], signature: object) -> None:
        self._function, self._signature = function, signature
        self._compiled: Any = None
        update_wrapper(self, function)

    @property
    def compiled(self) -> Any:
        """What numba made of it."""
        with _compiling:
            if self._compiled is None:
                try:
                    made = njit(self._signature, nogil=True, cache=True)(self._function)
                except (RuntimeError, OSError):  # no folder or space for it; all else comes again
                    made = njit(self._signature, nogil=True)(self._function)
                self._compiled = made
        return self._compiled

    def __call__(self, *arguments: object) -> object:
        """Run the compiled loop."""
        return (self._compiled or self.compiled)(*arguments)

    def __reduce__(self) -> str:
        return self._function.__qualname__  # pickled by its name, as functions are


def kernel(signature: object) -> Callable[[_Function], _Function]:
    """Compile for this one signature, once the function is called.

    One signature each is what makes numba's disk cache safe when several processes fill it at
    once: it numbers the files of a function's signatures, and two processes that compiled
    different ones would give them the same number. As it is they can only replace a file by its
    equal. To load one takes some milliseconds, and the first one a third of a second, so a command
    that calls none loads none.
    """

    def made(function: _Function) -> _Function:
        return cast("_Function", Kernel(function, signature))

    return made


def part(function: _Function) -> _Function:
    """Compile into the kernels that call it, for whatever types they pass.

    It has no files of its own in the disk cache, as its signatures may be many.
    """
    return cast("_Function", njit(nogil=True)(function))
