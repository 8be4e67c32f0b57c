"""What users are told: as a text, with what it concerns and what to do about it."""

import inspect
import logging
import pickle
import traceback
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

import miostitch
from miostitch import errors
from miostitch.cli.console import _Handler
from miostitch.errors import (
    InputError,
    MismatchError,
    MissingInputError,
    Notice,
    Severity,
    list_errors,
    list_notes,
    list_warnings,
    merge_texts,
    report_notices,
)
from tests.test_words import messages


@pytest.mark.parametrize(
    ("notice", "text"),
    [
        (Notice("a.csv", "3 rows dropped"), "a.csv: 3 rows dropped"),
        (Notice("a.csv", "no row", "leave it out"), "a.csv: no row; leave it out"),
        (Notice("", "a.avi and b.avi are 1 frame apart"), "a.avi and b.avi are 1 frame apart"),
        (Notice("", "a.zarr: no JSON", "it is left out"), "a.zarr: no JSON; it is left out"),
    ],
)
def test_a_notice_reads_as_one_sentence(notice: Notice, text: str) -> None:
    assert str(notice) == text


@pytest.mark.parametrize("kind", [InputError, MismatchError, MissingInputError])
def test_an_error_keeps_its_reason_apart_from_the_remedy(kind: type[InputError]) -> None:
    reason = Notice("a.csv", "no row", "--salvage leaves it out")
    error: InputError = pickle.loads(pickle.dumps(kind(reason)))
    assert (str(error), error.notice) == ("a.csv: no row; --salvage leaves it out", reason)
    assert str(replace(error.notice, remedy="it is left out")) == "a.csv: no row; it is left out"
    assert kind("a.csv: no row").notice == Notice("", "a.csv: no row")


def test_every_error_comes_back_from_a_worker() -> None:
    import distributed  # noqa: F401 (it changes how errors are pickled)

    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    for kind in (each for each in kinds if issubclass(each, errors.MiostitchError)):
        back = pickle.loads(pickle.dumps(kind("a.avi: broken")))
        assert (type(back), str(back)) == (kind, "a.avi: broken")


def test_findings_are_ranked_and_those_of_segments_are_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "miostitch")
    usual = [
        Notice(f"seg{n}.avi", f"frame {n} has no image", "", Severity.NOTE) for n in (3, 40, 500)
    ]
    doubt = Notice("a.avi", "it is 1 frame behind", "use --lag auto", Severity.DOUBT)
    warning = Notice("a.avi", "the clock went back 2 times")
    report_notices([*usual, warning, doubt, warning])
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.ERROR,
            "a.avi: it is 1 frame behind; use --lag auto (In Python: --lag auto is lag='auto'.)",
        ),
        (logging.WARNING, "a.avi: the clock went back 2 times"),
        (logging.INFO, "seg3.avi (and 2 more like it): frame 3 has no image"),
    ]
    assert list_warnings([*usual, warning, doubt]) == [str(doubt), str(warning)]
    texts = list_notes([*usual, warning])  # for programs, which may want to know all of them
    assert texts == [f"seg{n}.avi: frame {n} has no image" for n in (3, 40, 500)]
    assert merge_texts(texts) == ["seg3.avi (and 2 more like it): frame 3 has no image"]
    assert merge_texts(["no path 1", "no path 2", "no path 1"]) == ["no path 1", "no path 2"]
    error = replace(doubt, severity=Severity.ERROR)
    assert list_errors([*usual, error, doubt]) == [str(error)]
    assert list_warnings([error, *usual]) == []


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("strict", [False, True])
def test_what_puts_a_result_in_doubt_is_refused_if_strict(severity: Severity, strict: bool) -> None:
    notices = [Notice("a.avi", "is odd", "look at it", severity), Notice("b.avi", "is as well")]
    refused = severity == Severity.ERROR or (strict and severity == Severity.DOUBT)
    with pytest.raises(InputError, match=r"a\.avi: is odd; look") if refused else nullcontext():
        report_notices(notices, strict=strict)


def test_errors_name_keywords_to_who_calls_from_python() -> None:
    error = errors.OutputExistsError("a.avi: exists; replace it with --force")
    assert str(error) == "a.avi: exists; replace it with --force"
    assert error.__notes__ == ["In Python: --force is force=True."]
    assert "In Python" in "".join(traceback.format_exception(error))
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), back.__notes__) == (str(error), error.__notes__)
    raised = errors.InputError(Notice("a.avi", "is odd", "use --lag auto or --no-repair"))
    assert raised.__notes__ == ["In Python: --lag auto is lag='auto', --no-repair is repair=False."]
    assert not hasattr(errors.InputError("a.avi: is broken -- or empty"), "__notes__")


def test_warnings_name_keywords_to_who_calls_from_python(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, named = Notice("a.avi", "is odd"), Notice("b.avi", "has holes", "--salvage helps")
    errors.report_notices([plain, named])
    said = "b.avi: has holes; --salvage helps (In Python: --salvage is salvage=True.)"
    assert sorted(caplog.messages) == ["a.avi: is odd", said]
    handler = _Handler()
    handler.said.clear()
    for record in caplog.records:
        handler.emit(record)
    printed = "warning: a.avi: is odd\nwarning: b.avi: has holes; --salvage helps\n"
    assert capsys.readouterr().err == printed


def test_every_option_of_a_message_is_a_keyword_of_a_public_function() -> None:
    public = [getattr(miostitch, name) for name in dir(miostitch) if not name.startswith("_")]
    functions = [each for each in public if callable(each)]
    known = {name for each in functions for name in inspect.signature(each).parameters}
    package = Path(miostitch.__file__).parent
    rooms = [path for path in package.rglob("*.py") if path.parent.name != "cli"]
    texts = [text for path in rooms for _, text in messages(path)]
    said = {
        keyword.partition("=")[0]
        for text in texts
        for keyword in errors.keywords_of_options(text).values()
    }
    assert len(said) > 10
    assert said - known == set()
