"""The folder of a lab, which most tests only look at."""

import shutil
from pathlib import Path

import pytest

from tests.viewer.labs import make_lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def own(lab: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(lab, tmp_path / "lab"))
