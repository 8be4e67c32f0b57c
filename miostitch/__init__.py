"""miostitch: one clean recording out of several receivers' recordings of one miniscope session.

The public Python interface is stated once, in ``__init__.pyi``; each name of it is imported when it
is first used, so that ``miostitch --help`` does not wait for dask, numba and xarray.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
