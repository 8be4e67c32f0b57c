"""Run the session of one session file: stitched, or through the workflow, as the file says."""

from dataclasses import fields, replace
from pathlib import Path

from miostitch.batch.outcome import describe_failure, describe_results
from miostitch.config.choices import thresholds
from miostitch.config.files import load_config
from miostitch.config.session_file import SessionFile, load_session
from miostitch.errors import MiostitchError
from miostitch.execution.progress import Progress
from miostitch.execution.results import SessionOutcome
from miostitch.recording.files import recordings_of
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import run_stitch
from miostitch.workflow import find_denoised, find_stitched, workflow_files


def run_session(
    path: str, *, force: bool = False, progress: Progress | None = None
) -> SessionOutcome:
    """Run a session unless it is finished and unchanged; a failure is an outcome, too."""
    try:
        session = load_session(path)
        unchanged = not force and _find_finished(session)
        if not unchanged:
            _run(session, force=force, progress=progress)
        return describe_results(session, "unchanged" if unchanged else "done")
    except MiostitchError as error:
        return describe_failure(path, "failed", error.exit_code, str(error))
    except (OSError, MemoryError) as error:
        what = f"not enough disk space, memory or permissions: {error}"
        return describe_failure(path, "failed", 5, what)
    except Exception as error:  # the next session is none the worse
        what = f"internal error, please report it: {type(error).__name__}: {error}"
        return describe_failure(path, "failed", MiostitchError.exit_code, what)


def stitch_options(session: SessionFile, *, force: bool = False) -> StitchOptions:
    """How a session is stitched."""
    choices = session.choices
    known = {field.name for field in fields(StitchOptions)}
    given = {name: value for name, value in choices.items() if name in known}
    if choices.get("no_avi"):
        given["codec"] = None
    if session.options.denoise is not None:
        given["score"] = thresholds(session.options.denoise)
    return replace(StitchOptions(**given), name=session.name, session=session.facts, force=force)


def _trim(session: SessionFile) -> tuple[int, int]:
    return session.options.trim.start, session.options.trim.end


def _run(session: SessionFile, *, force: bool, progress: Progress | None) -> None:
    options, recordings = stitch_options(session, force=force), recordings_of(session)
    if session.options.denoise is None:
        run_stitch(recordings, session.output, options, progress=progress)
        return
    config = load_config(session.options.denoise)
    workflow_files(recordings, config, session.output, _trim(session), options, progress=progress)


def _find_finished(session: SessionFile) -> bool:
    """Whether all results of a session are there, of the same files and options."""
    options, recordings = stitch_options(session), recordings_of(session)
    stem = Path(session.stems[0])
    alone = len(recordings) == 1 and session.options.denoise is not None
    if not alone and find_stitched(recordings, stem, options) is None:
        return False
    if session.options.denoise is None:
        return True
    config = load_config(session.options.denoise)
    recording = recordings[0] if alone else None
    return find_denoised(recording, stem, config, _trim(session), options) is not None
