"""What users are told: as a text, with what it concerns and what to do about it."""

import pickle
from dataclasses import replace

import pytest

from miostitch import errors
from miostitch.errors import InputError, MismatchError, MissingInputError, Notice


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
