"""Memory is known before a run, and a limit bounds the threads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miostitch.errors import PlanError, UsageError
from miostitch.execution.memory import MemoryPlan, parse_bytes, plan_stitch


@pytest.mark.fault(51, "any limit", "fewer threads, or refused with the number needed")
@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(1, 256), st.integers(1, 10**11))
def test_threads_fit_the_limit_or_are_refused(
    fixed: int, per_thread: int, most: int, limit: int
) -> None:
    plan = MemoryPlan(fixed, per_thread)
    if plan.needed_bytes(1) > limit:
        with pytest.raises(PlanError, match=f"{plan.needed_bytes(1) / 1e6:.0f} MB at least"):
            plan.threads(most, limit)
        return
    threads = plan.threads(most, limit)
    assert 1 <= threads <= most
    assert plan.needed_bytes(threads) <= limit
    assert threads == most or plan.needed_bytes(threads + 1) > limit


def test_without_a_limit_all_threads_are_used() -> None:
    assert MemoryPlan(10**15, 10**15).threads(128, None) == 128


def test_more_work_takes_more_memory() -> None:
    def needed(**options: bool) -> int:
        kinds = {"composed": False, "debug": False} | options
        return plan_stitch(1000, 2**24, 2, **kinds).needed_bytes(2)

    assert needed() < needed(composed=True) < needed(composed=True, debug=True)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("1.5 GiB", 3 * 2**29),
        ("800m", 8 * 10**8),
        ("4096", 4096),
        ("2TB", 2 * 10**12),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", ". GB", "-1GB", "0", "1 TBB", "nan", "inf", "2 G B", "1e30GB"]
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="give a size"):
        parse_bytes(text)
