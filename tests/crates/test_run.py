"""The RO-Crate of a folder says what its summaries say, however the results came there."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import miostitch
from miostitch.crates.description import describe_results
from miostitch.crates.run import CRATE, STATED, TIMES, describe_folder, read_crate, write_crate
from miostitch.errors import InputError, OutputExistsError, ResourceError, UsageError
from miostitch.verify.run import verify_files
from tests.commands import run, run_installed

SMALL = miostitch.SimulationConfig(frames=24, height=20, width=20, seed=2)
SESSION = """
miostitch: 1
name: day1
receivers: {left: receiver1.avi, right: receiver2.avi}
output: out
options: {crate: true, denoise: denoise_example}
subject: {subject_id: m1, species: Mus musculus, sex: F}
recording:
  experimenter: "Doe, J"
  institution: A lab
  description: running on a wheel
  license: CC-BY-4.0
"""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    miostitch.simulate(folder, SMALL)
    return folder


def names(raw: Path) -> list[str]:
    return [str(raw / f"receiver{number}.avi") for number in (1, 2)]


def stitch(raw: Path, output: Path, **options: Any) -> Path:
    miostitch.stitch_files(names(raw), output, name="S", no_avi=True, **options)
    return output


@pytest.fixture(scope="module")
def session(raw: Path) -> Path:
    """The results of a session file with all facts, one stitched and one denoised."""
    (raw / "session.yml").write_text(SESSION)
    run("workflow", str(raw / "session.yml"))
    return raw / "out"


@pytest.fixture(scope="module")
def plain(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stitched result without a crate."""
    return stitch(raw, tmp_path_factory.mktemp("plain"), report=False)


@pytest.fixture(scope="module")
def described(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stitched result with a crate and a report."""
    return stitch(raw, tmp_path_factory.mktemp("described"), crate=True)


@pytest.fixture
def own(described: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(described, tmp_path, dirs_exist_ok=True))


GRAPHS = ("3", '[{"name": "x"}]')
"""What is no list of entities."""

OF_A_PRODUCT = sorted(STATED - {"agent", "affiliation"} - {*TIMES})


def ids(links: Any) -> list[str]:
    """Ids that a property links: one link stands alone, several are a list."""
    return [link["@id"] for link in (links if isinstance(links, list) else [links])]


def actions(crate: dict[str, Any]) -> dict[str, Any]:
    found = [each for each in crate.values() if each["@type"] == "CreateAction"]
    return {each["name"]: each for each in found}


def test_the_files_are_those_of_the_summaries(session: Path) -> None:
    crate = read_crate(session)
    listed = ids(crate["./"]["hasPart"])
    assert sorted(name.rstrip("/") for name in listed) == sorted(
        path.name for path in session.iterdir() if path.name != CRATE
    )
    for stem in ("day1", "day1_denoised"):
        summary = json.loads((session / f"{stem}.json").read_text())
        for path, facts in zip(summary["outputs"], summary["digests"].values(), strict=False):
            name = Path(path).name
            entity = crate[name + "/" * Path(path).is_dir()]
            assert entity["@type"] == ("Dataset" if Path(path).is_dir() else "File")
            assert entity["contentSize"] == str(facts["size"])
            assert entity["identifier"] == f"blake2b:{facts['digest']}"
        assert crate[f"{stem}.json"]["identifier"] == f"blake2b:{summary['digest']}"


def test_runs_say_what_was_read_with_what(session: Path) -> None:
    crate = read_crate(session)
    made = actions(crate)
    assert made.keys() == {"stitch day1", "denoise day1_denoised"}
    recorded = [crate[name] for name in ids(made["stitch day1"]["object"])]
    summary = json.loads((session / "day1_denoised.json").read_text())
    assert [(each["name"], each["contentSize"], each["identifier"]) for each in recorded] == [
        (each["name"], str(each["size"]), f"blake2b:{each['digest']}") for each in summary["inputs"]
    ]
    # what was denoised is a product of this very folder
    assert set(ids(made["denoise day1_denoised"]["object"])) <= set(ids(crate["./"]["hasPart"]))
    assert crate["day1_denoised.zarr/"]["isBasedOn"] == made["stitch day1"]["object"]
    software = crate[made["stitch day1"]["instrument"]["@id"]]
    assert software["version"] == summary["versions"]["miostitch"]
    for action in made.values():
        assert action["startTime"] <= action["endTime"]


def test_what_a_session_file_says_stands_in_the_crate(session: Path) -> None:
    crate = read_crate(session)
    root = crate["./"]
    assert [crate[name]["name"] for name in ids(root["author"])] == ["Doe, J"]
    assert crate[crate[ids(root["author"])[0]]["affiliation"]["@id"]]["name"] == "A lab"
    assert crate[ids(root["about"])[0]]["description"] == "Mus musculus, F"
    assert ids(root["license"]) == ["https://spdx.org/licenses/CC-BY-4.0"]
    assert root["description"].startswith("running on a wheel")


def test_no_reference_leads_nowhere(session: Path) -> None:
    crate = read_crate(session)

    def linked(value: Any) -> list[str]:
        if isinstance(value, list):
            return [name for each in value for name in linked(each)]
        if not isinstance(value, dict):
            return []
        return [value["@id"]] if value.keys() == {"@id"} else linked([*value.values()])

    assert {*linked([*crate.values()])} - crate.keys() == {"https://w3id.org/ro/crate/1.1"}


def test_verify_accepts_it(session: Path) -> None:
    assert verify_files(session)["differences"] == 0


def test_without_the_option_there_is_none(plain: Path) -> None:
    assert not (plain / CRATE).exists()


@pytest.mark.parametrize(
    "words",
    [
        ("trim", "-s", "2"),
        pytest.param(("remove-frames", "-f", "3"), marks=pytest.mark.slow),
        pytest.param(("concat",), marks=pytest.mark.slow),
        pytest.param(("regularize",), marks=pytest.mark.slow),
        pytest.param(("denoise", "-c", "denoise_example"), marks=pytest.mark.slow),
    ],
    ids=lambda words: words[0],
)
def test_every_command_that_publishes_takes_the_option(
    plain: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    command, *rest = words
    run(command, str(plain / "S.zarr"), *rest, "--crate", "-o", str(tmp_path))
    crate = read_crate(tmp_path)
    [action] = actions(crate).values()
    assert action["name"].split()[0] == command.replace("-", "_")
    assert crate[ids(action["object"])[0]]["name"] == "S.zarr"
    assert verify_files(tmp_path)["differences"] == 0


def test_a_later_run_keeps_it_true_without_being_asked(raw: Path, own: Path) -> None:
    before = actions(read_crate(own))["stitch S"]
    trimmed = miostitch.trim(miostitch.open_recording(own / "S.zarr"), 3)
    miostitch.write_recording(trimmed, own, stem="T")
    found = actions(read_crate(own))
    assert found.keys() == {"stitch S", "trim T"}
    assert {name: found["stitch S"][name] for name in TIMES} == {n: before[n] for n in TIMES}
    stitch(raw, own, force=True, report=False)
    crate = read_crate(own)
    assert "S_report.html" not in crate
    assert len(actions(crate)) == 2
    assert verify_files(own)["differences"] == 0


def test_a_second_run_without_force_changes_nothing(raw: Path, own: Path) -> None:
    before = (own / CRATE).read_bytes()
    with pytest.raises(OutputExistsError):
        stitch(raw, own, crate=True)
    assert (own / CRATE).read_bytes() == before


def test_what_somebody_added_stays(raw: Path, own: Path) -> None:
    crate = read_crate(own)
    crate["./"] |= {"name": "Mice", "citation": {"@id": "https://example.org/paper"}}
    crate["./"]["hasPart"].append({"@id": "notes.txt"})
    crate["notes.txt"] = {"@id": "notes.txt", "@type": "File", "name": "notes"}
    crate["S.zarr/"]["keywords"] = "CA1"
    crate[CRATE]["sdLicense"] = "CC0-1.0"
    terms = ["https://w3id.org/ro/crate/1.2/context", {"whisker": "https://example.org/whisker"}]
    text = json.dumps({"@context": terms, "@graph": [*crate.values()]})
    (own / CRATE).write_text(text)
    stitch(raw, own, force=True, by="buffer")
    found = read_crate(own)
    assert json.loads((own / CRATE).read_text())["@context"] == terms
    assert found[CRATE]["sdLicense"] == "CC0-1.0"
    assert (found["./"]["name"], found["./"]["citation"]) == ("Mice", crate["./"]["citation"])
    assert {"@id": "notes.txt"} in found["./"]["hasPart"]
    assert found["notes.txt"] == crate["notes.txt"]
    assert found["S.zarr/"]["keywords"] == "CA1"
    assert found["S.json"]["identifier"] != crate["S.json"]["identifier"]
    assert verify_files(own)["differences"] == 0


@pytest.mark.parametrize(
    "text",
    ["", "[]", *(pytest.param(f'{{"@graph": {each}}}', marks=pytest.mark.slow) for each in GRAPHS)],
)
def test_what_is_no_crate_is_refused_before_any_work(raw: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / CRATE).write_text(text)
    with pytest.raises(UsageError, match="no RO-Crate"):
        stitch(raw, tmp_path, crate=True)
    assert [path.name for path in tmp_path.iterdir()] == [CRATE]
    stitch(raw, tmp_path, report=False)  # which was not asked for one
    assert (tmp_path / CRATE).read_text() == text


@pytest.mark.parametrize(
    "name",
    [n if n == "identifier" else pytest.param(n, marks=pytest.mark.slow) for n in OF_A_PRODUCT],
)
def test_verify_finds_a_changed_description(session: Path, tmp_path: Path, name: str) -> None:
    stem = "day1_denoised"
    changed = [
        {**each, name: "other"} if each["@id"] == f"{stem}.zarr/" else each
        for each in read_crate(session).values()
    ]
    original = (session / CRATE).read_text()
    (session / CRATE).write_text(json.dumps({"@graph": changed}))
    try:
        found = {each["stem"]: each for each in verify_files(session)["results"]}
    finally:
        (session / CRATE).write_text(original)
    assert found["day1"]["differences"] == 0
    [finding] = found[stem]["findings"]
    assert finding["file"] == CRATE
    assert "miostitch crate" in finding["message"]


def test_verify_finds_a_cut_crate(own: Path) -> None:
    text = (own / CRATE).read_text()
    (own / CRATE).write_text(text[: len(text) // 2])
    [found] = verify_files(own)["results"]
    assert found["counts"] == {"unreadable": 1}


def test_a_run_that_ends_before_the_crate_is_described_later(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ResourceError("no space")

    with monkeypatch.context() as broken:
        broken.setattr("miostitch.crates.run.write_crate", full)
        with pytest.raises(ResourceError, match="run miostitch crate"):
            stitch(raw, tmp_path, crate=True, report=False)
    assert (tmp_path / "S.json").exists()
    run("crate", str(tmp_path))
    assert "S.zarr/" in read_crate(tmp_path)
    assert verify_files(tmp_path)["differences"] == 0


@pytest.mark.parametrize("runs", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_runs_that_end_together_are_all_described(plain: Path, tmp_path: Path, runs: int) -> None:
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    known = miostitch.open_recording(tmp_path / "S.zarr")
    for stem in "ABC":
        miostitch.write_recording(known, tmp_path, stem=stem)
    with ThreadPoolExecutor(runs) as programs:  # each waits for a process of its own
        done = [*programs.map(lambda _: run_installed("crate", str(tmp_path)), range(runs))]
    assert {each.stdout.strip() for each in done} == {str(tmp_path / CRATE)}
    assert len(actions(read_crate(tmp_path))) == 4
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no result"):
        describe_folder(tmp_path)
    with pytest.raises(InputError, match="no result"):
        describe_folder(tmp_path / "nowhere")


ODD: tuple[Any, ...] = (None, 3, "x", [], [3], [{}], [{"digest": [1]}], {}, {"a": 3})


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_odd_summaries_and_stores_do_not_end_a_run(session: Path, tmp_path: Path, odd: Any) -> None:
    """Whoever wrote them, and whatever damaged them: the rest is described."""
    original = json.loads((session / "day1_denoised.json").read_text())
    for key in ("digests", "versions", "history", "origins", "inputs", "digest", "frames"):
        (tmp_path / "day1_denoised.json").write_text(json.dumps(original | {key: odd}))
        describe_results(tmp_path)
    (tmp_path / "day1_denoised.json").write_text(json.dumps(original))
    (tmp_path / "day1_denoised.zarr").mkdir()
    known = json.loads((session / "day1_denoised.zarr" / "zarr.json").read_text())
    facts = known["attributes"]["session"]
    for changed in (odd, facts | {"recording": odd}, facts | {"subject": odd},
                    facts | {"recording": {"experimenter": odd, "license": odd}}):  # fmt: skip
        known["attributes"]["session"] = changed
        (tmp_path / "day1_denoised.zarr" / "zarr.json").write_text(json.dumps(known))
        write_crate(tmp_path)
        read_crate(tmp_path)


def test_names_are_written_as_urls(raw: Path, tmp_path: Path) -> None:
    miostitch.stitch_files(
        names(raw), tmp_path, name="maus ü#1", no_avi=True, crate=True, report=False
    )
    assert "maus%20%C3%BC%231.zarr/" in read_crate(tmp_path)
    assert verify_files(tmp_path)["differences"] == 0
