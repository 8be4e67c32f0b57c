"""What a run returns: its summary, which shows itself in a few lines."""

from pathlib import Path
from typing import Any

import numpy as np

from miostitch.buffers.elapsed_time import time_of_store
from miostitch.errors import MiostitchError
from miostitch.execution.products import STORE, SUMMARY, VIDEO
from miostitch.store.chunks import read_frames
from miostitch.store.reader import Store
from miostitch.text import amount, clock, describe_reasons, printable, show_facts, show_facts_html
from miostitch.video.png import thumbnail_uri
from miostitch.video.source import open_video

COUNTS = ("incomplete", "noisy", "unrecoverable", "not_received")


class RunResult(dict[str, Any]):
    """The summary of a run, as its JSON file has it; shown short, and in a notebook with an image.

    >>> RunResult(frames=3, warnings=[], outputs=["out/S.avi", "out/S.json"])
    result S
      frames    3
      written   2 files in out
    """

    def __repr__(self) -> str:
        return show_facts(self._title, self._facts())

    def _repr_html_(self) -> str:
        facts, image = self._facts(), ""
        try:
            facts, image = [*facts, *self._duration()], self._thumbnail()
        except (MiostitchError, OSError) as error:
            facts.append(("image", f"cannot be read: {printable(str(error))}"))
        return show_facts_html(self._title, facts, image)

    @property
    def _outputs(self) -> list[str]:
        """Paths of all that was written."""
        found: list[str] = self.get("outputs", [])
        return found or [each["output"] for each in self.get("recordings", []) if "output" in each]

    @property
    def _title(self) -> str:
        names = [Path(path).stem for path in self._outputs if path.endswith(SUMMARY)]
        return printable(" ".join(["result", *names[-1:]]))

    def _facts(self) -> list[tuple[str, str]]:
        """What there is, what is lost, and where it was written."""
        facts = []
        if "frames" in self:
            facts.append(("frames", f"{self['frames']:,}"))
        for each in self.get("recordings", []):
            if "noisy_frames" in each:
                counts = f"{each['noisy_frames']} noisy and {each['black_frames']} black"
                facts.append((printable(Path(each["path"]).name), f"{counts} of {each['frames']}"))
        facts += [(name.replace("_", " "), f"{self[name]:,}") for name in COUNTS if name in self]
        if "dropped_frames" in self:
            why = describe_reasons(self.get("dropped_as", {}))
            facts.append(("removed", f"{amount(len(self['dropped_frames']), 'frame')}{why}"))
        if "duration_s" in self:
            facts.append(("duration", clock(round(self["duration_s"], 3), 3)))
        if self.get("warnings"):
            facts.append(("warnings", f"{len(self['warnings'])}, the first: {self['warnings'][0]}"))
        if self._outputs:
            folder = printable(str(Path(self._outputs[0]).parent))
            facts.append(("written", f"{amount(len(self._outputs), 'file')} in {folder}"))
        return facts

    def _product(self, suffix: str) -> str:
        """The last product of an ending, which is that of the last step."""
        return next((path for path in reversed(self._outputs) if path.endswith(suffix)), "")

    def _duration(self) -> list[tuple[str, str]]:
        """Time between the first frame and the last, if there is a store of them."""
        store = self._product(STORE)
        if "duration_s" in self or not store:
            return []
        seconds = time_of_store(Store.open(store)).seconds
        return [("duration", clock(round(float(seconds[-1]), 3), 3))] if len(seconds) else []

    def _thumbnail(self) -> str:
        """The middle one of the frames that are not damaged."""
        if store := self._product(STORE):
            damaged = Store.open(store).arrays("", ["damaged"]).get("damaged", np.zeros(0, bool))
            if not len(damaged):
                return ""
            intact = np.flatnonzero(~damaged)
            frames = intact if len(intact) else np.arange(len(damaged))
            middle = frames[[len(frames) // 2]]
            return thumbnail_uri(read_frames(store, middle)[0])
        if video := self._product(VIDEO):
            opened = open_video(video)
            return thumbnail_uri(opened.read(np.array([opened.frame_count // 2]))[0])
        return ""
