"""What became of a session, in a line of a table: by its summary and the ends of its store."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from miostitch.buffers.elapsed_time import time_of_store
from miostitch.config.session_file import SessionFile
from miostitch.execution.products import REPORT, STORE, SUMMARY
from miostitch.execution.results import (
    JSON,
    ReceiverOutcome,
    SessionOutcome,
    read_summary,
)
from miostitch.report.data import read_data
from miostitch.report.statistics import describe_recordings
from miostitch.store.reader import BUFFERS, Store
from miostitch.text import printable

BATTERY = "battery_voltage_raw"
LAST_ROWS = 64  # whose middle value is the voltage at the end


def describe_failure(path: str, state: str, exit_code: int, error: str | None) -> SessionOutcome:
    """The outcome of a session without a result."""
    stem = Path(path).stem
    name = Path(path).parent.name or stem if stem == "session" else stem
    said = None if error is None else printable(error)
    return SessionOutcome(printable(name), printable(path), state, exit_code, said)


def describe_results(session: SessionFile, state: str) -> SessionOutcome:
    """The outcome of a session by its results."""
    stem, *denoised = session.stems
    after = read_summary(f"{denoised[0]}{SUMMARY}") if denoised else {}
    summary = read_summary(f"{stem}{SUMMARY}") or after
    stores = (each + STORE for each in session.stems)
    store = next(filter(os.path.isdir, stores), None)
    facts = {} if store is None else _describe_store(Store.open(store), summary)
    shared = summary.get("shared_buffers")
    agreement = summary["identical_shared_buffers"] / shared if shared else None
    report = f"{stem}{REPORT}"
    counts = ("frames", "intact", "doubtful", "damaged", "not_received")
    return SessionOutcome(
        printable(session.name),
        printable(session.path),
        state,
        exit_code=0,
        **{name: summary.get(name) for name in counts},
        denoised=after.get("frames"),
        agreement=None if agreement is None else round(agreement, 6),
        warnings=[*summary.get("warnings", []), *_others(after, summary)],
        report=printable(report) if os.path.isfile(report) else None,
        **facts,
    )


def _others(after: JSON, before: JSON) -> list[str]:
    """Warnings of denoising that stitching has not given."""
    known = before.get("warnings", [])
    return [each for each in after.get("warnings", []) if each not in known]


def _describe_store(store: Store, summary: JSON) -> dict[str, Any]:
    """Time, voltage and losses of a session."""
    times = time_of_store(store)
    start = float(times.start)
    found: dict[str, Any] = {
        "duration_s": round(float(times.seconds[-1]), 3) if len(times.seconds) else None,
        "start": datetime.fromtimestamp(start, UTC).isoformat(timespec="seconds")
        if np.isfinite(start)
        else None,
    }
    last = slice(max(0, store.buffer_rows - LAST_ROWS), store.buffer_rows)
    voltage = store.arrays(BUFFERS, [BATTERY], last).get(BATTERY)
    if voltage is not None and len(voltage):
        found["battery"] = int(np.median(voltage))
    lost = lost_shares(store)
    lags = [each.get("lag", 0) for each in summary.get("recordings", [])]
    if len(lags) == len(store.recordings):
        found["receivers"] = [
            ReceiverOutcome(name, lag, share)
            for name, lag, share in zip(store.recordings, lags, lost, strict=True)
        ]
    return found


def lost_shares(store: Store) -> list[float | None]:
    """Share of the buffers of all frames that each receiver did not receive."""
    shares = [each.received_share for each in describe_recordings(read_data(store))]
    return [None if share is None else round(1 - share, 6) for share in shares]
