"""The one way to run: claim a name, resume or begin, make the products, publish all or none."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from miostitch.errors import ResourceError
from miostitch.execution.checkpoint import Journal
from miostitch.execution.digests import Digest, product_digest
from miostitch.execution.executors import require_paths
from miostitch.execution.progress import Progress, counted
from miostitch.execution.results import (
    JSON,
    DenoiseSummary,
    EditSummary,
    StitchSummary,
    write_summary,
)
from miostitch.execution.workspace import Workspace

VERSIONS = ("miostitch", "av", "zarr", "numcodecs", "numpy")
"""Whose version a result may depend on."""

Summary = TypeVar("Summary", StitchSummary, EditSummary, DenoiseSummary)


@dataclass(frozen=True)
class RunOptions:
    """How to run, whatever is made."""

    force: bool = False  # Replace existing products once the new ones are complete
    restart: bool = False  # Begin again even if an interrupted run could be resumed
    progress: Progress | None = None
    crate: bool = False  # Describe the folder as an RO-Crate; see `crates.run`


@dataclass(frozen=True)
class Run:
    """A run that has claimed its name."""

    workspace: Workspace
    options: RunOptions
    inputs: Sequence[str]  # Paths

    def resume(self, inputs: Sequence[object], options: Mapping[str, Any]) -> None:
        """Keep what an interrupted run left that would have made the very same, or begin.

        What computes the blocks must reach all files, which is asked only now: a cluster may have
        been starting while the recordings were opened.
        """
        require_paths([*filter(os.path.exists, self.inputs), os.fspath(self.workspace.output)])
        decisive = {"inputs": inputs, "options": options, "versions": used_versions()}
        self.workspace.resume(decisive, restart=self.options.restart)

    def require_space(self, needed: int) -> None:
        """Refuse what cannot fit, in bytes; what an interrupted run left makes room."""
        require_space(self.workspace.output, needed - self.workspace.left_bytes)

    def journal(self, name: str) -> Journal:
        """What is finished of one of the passes of this run."""
        return Journal(self.workspace.journal(name))

    def counted(self, frames: int) -> Callable[[int], None] | None:
        """Report finished frames of so many, as the user wants it."""
        return counted(self.options.progress, frames)

    def finish(self, summary: Summary) -> Summary:
        """Write the summary, the last product, with the paths and the digests of all."""
        last = self.workspace.suffixes[-1]
        digests: JSON = self._make_digests()
        outputs = [os.path.abspath(self.workspace.final(suffix)) for suffix in (*digests, last)]
        summary = replace(summary, digests=digests, outputs=outputs)
        return replace(summary, digest=write_summary(self.workspace.staged(last), summary))

    def _make_digests(self) -> dict[str, Digest]:
        """Digests of the products so far, by their endings."""
        staged = {suffix: self.workspace.staged(suffix) for suffix in self.workspace.suffixes}
        return {suffix: product_digest(path) for suffix, path in staged.items() if path.exists()}


@contextmanager
def publish_run(
    workspace: Workspace,
    inputs: Sequence[str],
    options: RunOptions,
    *,
    resumable: bool = False,
) -> Iterator[Run]:
    """Make products in a workspace, and give them their names when all of them are complete.

    ``resumable``: whether its blocks are noted, for :meth:`Run.resume`.
    """
    with workspace.open(inputs, force=options.force, resumable=resumable):
        yield Run(workspace, options, inputs)
        workspace.publish()


def used_versions() -> dict[str, str]:
    """Versions of the libraries that decide the products."""
    return {name: version(name) for name in VERSIONS}


def file_states(paths: Iterable[str]) -> list[tuple[str, int, int]]:
    """What tells that files are still the same, without reading them.

    Returns: Path, size in bytes and time of the last change in ns, each file once, sorted.
    """
    files: set[Path] = set()
    for path in map(Path, paths):
        files |= {p for p in path.rglob("*") if p.is_file()} if path.is_dir() else {path}
    states = ((os.fspath(path), path.stat()) for path in sorted(files))
    return [(path, stat.st_size, stat.st_mtime_ns) for path, stat in states]


def require_space(output: Path, needed: int) -> None:
    """Refuse a run that cannot fit: what is written without compression is known beforehand."""
    free = shutil.disk_usage(output).free
    if needed > free:
        unit, size = ("GB", 1e9) if needed >= 1e8 else ("MB", 1e6)
        msg = f"{output}: {needed / size:.1f} {unit} are needed and {free / size:.1f} {unit} free"
        raise ResourceError(f"{msg}; make room")
