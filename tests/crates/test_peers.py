"""The validator of the RO-Crate community and the library ro-crate-py read what we describe."""

import json
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest

import miostitch
from miostitch.crates.run import CRATE
from tests.commands import run

pytestmark = pytest.mark.peer

PACKAGES = ["rocrate==0.16.0", "roc-validator==0.13.0"]

JUDGE = """
# The terms of a crate come from the net; here they are those that rocrate has in its package.
import io, json, sys
from email.message import Message
from importlib.resources import files
from urllib.response import addinfourl
import rdflib.parser, requests
from rocrate.rocrate import ROCrate

TERMS = "https://w3id.org/ro/crate/1.1/context"
TEXT = (files("rocrate") / "data" / "ro-crate.jsonld").read_bytes()

def opened(request):
    assert request.full_url == TERMS, request.full_url
    head = Message()
    head["Content-Type"] = "application/ld+json"
    return addinfourl(io.BytesIO(TEXT), head, TERMS, 200)

def answered(session, method, url, **options):
    assert url == TERMS, url
    answer = requests.Response()
    answer.status_code, answer._content, answer.url = 200, TEXT, url
    answer.headers["Content-Type"] = "application/ld+json"
    return answer

rdflib.parser._urlopen = opened
requests.Session.request = answered

from rocrate_validator import models, services

settings = services.ValidationSettings(
    rocrate_uri=sys.argv[1],
    profile_identifier="process-run-crate-0.5",
    requirement_severity=models.Severity.RECOMMENDED,
    cache_max_age=0,
)
made = services.validate(settings)
crate = ROCrate(sys.argv[1])
print(json.dumps({
    "found": [[each.severity.name, each.check.identifier] for each in made.get_issues()],
    "checks": len(made.executed_checks),
    "name": crate.name,
    "data": sorted(each.id for each in crate.data_entities),
    "runs": sorted(
        [each["name"], each["instrument"]["name"], *sorted(file.id for file in each["result"])]
        for each in crate.get_by_type("CreateAction")
    ),
}))
"""

SESSION = """
miostitch: 1
name: day1
receivers: {left: receiver1.avi, right: receiver2.avi}
output: out
options: {crate: true, denoise: denoise_example, debug_video: true}
subject: {subject_id: m1, species: Mus musculus}
recording: {experimenter: "Doe, J", institution: A lab, license: CC-BY-4.0}
"""

UNKNOWN = {
    "process-run-crate-0.5_3.2",  # no address of miostitch
    "process-run-crate-0.5_5.1",  # the same, as its id
    "ro-crate-1.1_22.3",  # no publisher: an archive adds itself
    "ro-crate-1.1_31.2",  # no address of the institution
}
"""What is recommended and nobody has told us."""


@pytest.fixture(scope="session")
def python() -> Path:
    """Python of an environment with the validator; kept between runs."""
    folder = Path(__file__).parents[2] / ".envs" / "crates"
    if not (folder / "done").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", *PACKAGES], check=True)
        (folder / "done").touch()
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of three runs in one folder: stitched, denoised, trimmed."""
    raw = tmp_path_factory.mktemp("raw")
    miostitch.simulate(raw, miostitch.SimulationConfig(frames=24, height=20, width=20, seed=2))
    (raw / "session.yml").write_text(SESSION)
    run("workflow", str(raw / "session.yml"))
    run("trim", str(raw / "out" / "day1.zarr"), "-s", "3", "-o", str(raw / "out"))
    return raw / "out"


def judged(python: Path, folder: Path, tmp_path: Path) -> Any:
    script = tmp_path / "judge.py"
    script.write_text(JUDGE)
    command = [str(python), "-W", "ignore", str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_validator_finds_only_what_is_unknown(
    python: Path, folder: Path, tmp_path: Path
) -> None:
    found = judged(python, folder, tmp_path)
    assert found["checks"] > 100
    assert {severity for severity, _ in found["found"]} <= {"RECOMMENDED"}
    assert {check for _, check in found["found"]} == UNKNOWN


def test_the_validator_would_find_what_is_missing(
    python: Path, folder: Path, tmp_path: Path
) -> None:
    text = (folder / CRATE).read_text()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / CRATE).write_text(text.replace('"datePublished"', '"date"'))
    found = judged(python, tmp_path / "other", tmp_path)
    assert "REQUIRED" in {severity for severity, _ in found["found"]}


def test_ro_crate_py_reads_every_file_and_run(python: Path, folder: Path, tmp_path: Path) -> None:
    found = judged(python, folder, tmp_path)
    there = [f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir()]
    assert found["data"] == sorted({*there} - {CRATE})
    assert [name for name, *_ in found["runs"]] == [
        "denoise day1_denoised",
        "stitch day1",
        "trim day1_trimmed",
    ]
    for _, software, *results in found["runs"]:
        assert software == "miostitch"
        assert {*results} <= {*found["data"]}
