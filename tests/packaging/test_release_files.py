"""Files of a release agree with the package and with each other."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


def pythons() -> list[str]:
    declared = "Programming Language :: Python :: 3."
    found = [each.rsplit(" ", 1)[1] for each in PROJECT["classifiers"] if declared in each]
    return sorted(found, key=lambda version: int(version.split(".")[1]))


def test_every_declared_python_is_tested() -> None:
    jobs = load(".github/workflows/tests.yml")["jobs"]
    suite = jobs["suite"]["strategy"]["matrix"]
    tried = {*suite["python"], *(each["python"] for each in suite["include"])}
    assert tried == {*pythons()}
    local = re.search(r"for version in (.*?); do", (ROOT / ".ci/pythons").read_text())
    assert local is not None
    assert local[1].split() == pythons()
    assert PROJECT["requires-python"] == f">={pythons()[0]}"


def test_public_ci_is_what_runs_here() -> None:
    jobs = load(".github/workflows/tests.yml")["jobs"]
    assert ".ci/run" in [step.get("run") for step in jobs["everything"]["steps"]]
    systems = {each["system"] for each in jobs["suite"]["strategy"]["matrix"]["include"]}
    assert systems == {"macos-latest", "windows-latest"}


def test_nothing_is_pinned_from_above() -> None:
    extras = [each for group in PROJECT["optional-dependencies"].values() for each in group]
    for requirement in (*PROJECT["dependencies"], *extras):
        assert not re.search(r"<|==|~=", requirement), requirement


def test_citation_has_the_licence_of_the_package() -> None:
    citation = load("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]


def test_reports_of_problems_ask_for_what_is_needed() -> None:
    body = load(".github/ISSUE_TEMPLATE/problem.yml")["body"]
    wanted = {part["attributes"]["label"] for part in body if part["validations"]["required"]}
    assert {"miostitch inspect --json", "miostitch doctor"} <= wanted


def test_the_recipe_asks_for_what_the_package_asks_for() -> None:
    recipe = load("recipe/recipe.yaml")
    wanted = {re.split(r"[ \[]", each)[0]: each for each in recipe["requirements"]["run"]}
    for requirement in PROJECT["dependencies"]:
        name, floor = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", requirement).groups()  # type: ignore[union-attr]
        conda = {"dask": "dask-core", "isal": "python-isal", "lazy-loader": "lazy_loader"}
        assert wanted[conda.get(name, name)].endswith(f" >={floor}"), name
