"""What must not be computed while it is built."""


def never(*args: object, **kwargs: object) -> None:
    """Fail as a dask scheduler."""
    raise AssertionError("computed while it was built")
