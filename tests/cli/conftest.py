"""A small session that commands are called on."""

import pytest

from tests.commands import run


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("session")
    run("simulate", str(folder), "--frames", "40", "--seed", "2", "--height", "40", "--width", "50")
    return [str(folder / f"receiver{n}.avi") for n in (1, 2)]
