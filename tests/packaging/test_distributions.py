"""What a release has in it, and that it installs without git."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
DATA = {
    "py.typed",
    "__init__.pyi",
    *(f"config/shipped/{path.name}" for path in ROOT.glob("miostitch/config/shipped/*.yml")),
    *(f"batch/templates/{path.name}" for path in ROOT.glob("miostitch/batch/templates/*")),
    *(f"report/templates/{path.name}" for path in ROOT.glob("miostitch/report/templates/*")),
    *(f"viewer/static/{path.name}" for path in ROOT.glob("miostitch/viewer/static/*")),
}


def build(source: Path, target: Path, *kinds: str) -> None:
    command = [sys.executable, "-m", "build", "--outdir", str(target), *kinds, str(source)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last commit: building leaves files next to the sources."""
    folder = tmp_path_factory.mktemp("clone")
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    return folder


@pytest.fixture(scope="module")
def built(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Source and wheel, as ``make dist`` makes them."""
    folder = tmp_path_factory.mktemp("dist")
    build(clone, folder)
    [source], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return source, wheel


def test_the_wheel_has_the_package_with_pages_and_configurations_alone(
    built: tuple[Path, Path],
) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = {PurePosixPath(name) for name in wheel.namelist()}
    package = {name.relative_to("miostitch") for name in names if name.parts[0] == "miostitch"}
    modules = {
        PurePosixPath(path.relative_to(ROOT / "miostitch").as_posix())
        for path in ROOT.glob("miostitch/**/*.py")
    }
    assert package == modules | {PurePosixPath(name) for name in DATA}
    others = {name.parts[0] for name in names} - {"miostitch"}
    assert len(others) == 1
    assert others.pop().endswith(".dist-info")


def test_the_source_is_that_of_git(built: tuple[Path, Path], clone: Path) -> None:
    with tarfile.open(built[0]) as archive:
        names = {PurePosixPath(*PurePosixPath(name).parts[1:]) for name in archive.getnames()}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=clone, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert {*map(PurePosixPath, tracked)} <= names


def test_the_version_of_an_archive_without_git(built: tuple[Path, Path], tmp_path: Path) -> None:
    with tarfile.open(built[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    build(source, tmp_path / "again", "--wheel")
    with zipfile.ZipFile(next((tmp_path / "again").glob("*.whl"))) as wheel:
        [metadata] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        version = message_from_bytes(wheel.read(metadata))["Version"]
    assert f"miostitch-{version}.tar.gz" == built[0].name


@pytest.mark.parametrize("kind", ["source", "wheel"])
def test_an_installed_release_makes_the_demo(
    built: tuple[Path, Path], tmp_path: Path, kind: str
) -> None:
    venv.create(tmp_path / "environment", with_pip=True)
    scripts = tmp_path / "environment" / ("Scripts" if os.name == "nt" else "bin")
    file = built[("source", "wheel").index(kind)]
    install = [str(scripts / "python"), "-m", "pip", "install", "--quiet", str(file)]
    subprocess.run(install, check=True, capture_output=True)
    for command in (["demo", "-o", "demo"], ["verify", "demo/stitched"]):
        subprocess.run([scripts / "miostitch", *command], cwd=tmp_path, check=True)
