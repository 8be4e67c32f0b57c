"""The page where thresholds of denoise are tried: what it asks, and the file that it saves."""

from collections import OrderedDict
from threading import Lock
from typing import Any

import xarray as xr

from miostitch.config.models import DenoiseConfig
from miostitch.errors import MissingInputError, UsageError
from miostitch.recording.inputs import open_input
from miostitch.schema import FRAME, HEIGHT, WIDTH
from miostitch.text import printable
from miostitch.viewer import trial
from miostitch.viewer.catalogue import Catalogue, ListedRecording, ListedResult, file_state
from miostitch.viewer.serving import NUMBER, Asset, Handler, RefusedError, Routes, below, pack

KEPT = 4  # trials, and samples of recordings, that are kept


class Thresholds:
    """Tries configurations on what a catalogue lists."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._opened: dict[int, tuple[list[tuple[int, int]], xr.Dataset]] = {}
        self._samples: OrderedDict[tuple[int, int, int | None], trial.Sample] = OrderedDict()
        self._trials: OrderedDict[int, trial.Trial] = OrderedDict()
        self._tried = 0
        self._reading, self._lock = Lock(), Lock()  # Of what takes time, and of the trials

    def describe(self, number: int) -> dict[str, Any]:
        """What can be tried on a recording or result, and where that would be saved."""
        opened = self._open(number)
        found = self._bases(number)
        return {
            "name": printable(self._name(number)),
            "frames": opened.sizes[FRAME],
            "most": trial.FRAMES,
            "controls": trial.controls(opened.sizes[HEIGHT], opened.sizes[WIDTH]),
            "bases": [
                {"id": printable(name), "about": each.description, "values": trial.values(each)}
                for name, each in found.items()
            ],
            "folder": printable(self._catalogue.folder),
        }

    def run(self, number: int, asked: dict[str, Any]) -> dict[str, Any]:
        """Try a configuration; the images are asked for by the number of the trial."""
        count, start = asked.get("count", trial.FRAMES), asked.get("start")
        if type(count) is not int or not 0 < count <= trial.FRAMES:
            raise UsageError(f"count: must be a number from 1 to {trial.FRAMES}")
        if start is not None and (type(start) is not int or start < 0):
            raise UsageError("start: must be a frame, counted from 0, or null")
        config, sample = self._config(number, asked), self._sample(number, count, start)
        made = trial.try_config(sample, config)
        with self._lock:
            self._tried += 1
            self._trials[self._tried] = made
            if len(self._trials) > KEPT:
                self._trials.popitem(last=False)
            return {"trial": self._tried, **made.describe()}

    def find(self, number: int) -> trial.Trial:
        """A trial by its number."""
        with self._lock:
            if number not in self._trials:
                raise MissingInputError("this trial is not kept any more; try again")
            return self._trials[number]

    def save(self, number: int, asked: dict[str, Any]) -> str:
        """Save a configuration into the folder; the path."""
        name = trial.require_file_name(asked.get("name"))
        config = self._config(number, asked, name)
        return trial.save_config(config, self._catalogue.folder)

    def _config(self, number: int, asked: dict[str, Any], name: str = "") -> DenoiseConfig:
        base, changes = asked.get("base"), asked.get("set", {})
        known = {printable(each): config for each, config in self._bases(number).items()}
        if not isinstance(base, str) or base not in known:
            raise UsageError(f"base: must be one of {', '.join(known)}")
        if not isinstance(changes, dict):
            raise UsageError("set: must be an object of settings")
        return trial.changed(known[base], changes, name)

    def _bases(self, number: int) -> dict[str, DenoiseConfig]:
        found = self._catalogue[number]
        file = found.session.file if isinstance(found, ListedRecording) else None
        return trial.bases(file.options.denoise if file is not None else None)

    def _name(self, number: int) -> str:
        match self._catalogue[number]:
            case ListedRecording(session, files):
                return f"{session.name}: {files.name}"
            case ListedResult(path):
                return self._catalogue.name_within(path)
            case _:
                raise MissingInputError("thresholds are tried on one recording or result")

    def _open(self, number: int) -> xr.Dataset:
        """The recording or result, opened again if it was replaced."""
        self._name(number)
        names, reading = self._catalogue.files(number)
        state = file_state(names)
        with self._reading:
            before = self._opened.get(number)
            if before is None or before[0] != state:
                self._opened[number] = state, open_input(names[0], reading)[0]
                for key in [key for key in self._samples if key[0] == number]:
                    del self._samples[key]
            return self._opened[number][1]

    def _sample(self, number: int, count: int, start: int | None) -> trial.Sample:
        opened, key = self._open(number), (number, count, start)
        with self._reading:
            if key not in self._samples:
                self._samples[key] = trial.Sample.take(opened, count, start)
                if len(self._samples) > KEPT:
                    self._samples.popitem(last=False)
            return self._samples[key]


class _Describe(Handler):
    async def get(self, _: str, number: str) -> None:
        self.finish(await self.server.compute(self.page.thresholds.describe, int(number)))


class _Try(Handler):
    async def post(self, _: str, number: str) -> None:
        run = self.page.thresholds.run
        self.finish(await self.server.compute(run, int(number), self.read_object()))


class _Image(Handler):
    """A frame, or a projection, before and after."""

    async def get(self, _: str, number: str, kind: str, what: str) -> None:
        found = self.page.thresholds.find(int(number))
        if kind == "frame":
            images = found.frame(below("frame", what, len(found.original)))
        elif what in trial.PROJECTIONS:
            images = await self.server.compute(found.projection, what)
        else:
            raise RefusedError(404, "there is no such projection")
        panels = [dict(zip(("height", "width"), each.shape, strict=True)) for each in images]
        self.set_header("Content-Type", "application/octet-stream")
        self.finish(pack({"panels": panels}, images))


class _Save(Handler):
    async def post(self, _: str, number: str) -> None:
        save = self.page.thresholds.save
        saved = await self.server.compute(save, int(number), self.read_object())
        self.finish({"saved": printable(saved)})


THRESHOLD_ROUTES: Routes = [
    (r"(thresholds\.html)", Asset),
    (f"thresholds/{NUMBER}", _Describe),
    (f"try/{NUMBER}", _Try),
    (f"trial/{NUMBER}/(frame)/{NUMBER}", _Image),
    (f"trial/{NUMBER}/(projection)/([a-z]{{1,20}})", _Image),
    (f"save/{NUMBER}", _Save),
]
