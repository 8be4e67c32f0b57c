"""Commands for many sessions: describe them in files, and run them all."""

from typing import TYPE_CHECKING

import click
from click import option

from miostitch.cli import options as opt
from miostitch.cli import texts
from miostitch.cli.console import Console, collect_garbage, talking

if TYPE_CHECKING:
    from miostitch.execution.results import SessionOutcome

ATTENTION = 1  # a session failed or has warnings


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(), metavar="FOLDER...")
@opt.output_in(
    default=None,
    show_default=False,
    help="Session file to write, or folder for them  [default: next to the recordings]",
)
@option("--dry-run", is_flag=True, help="Write no file, only show what was found (default: no).")
@talking
def init(folders: tuple[str, ...], output: str | None, dry_run: bool, console: Console) -> None:
    """Find the sessions in folders, and propose a session file for each.

    Pairs videos with tables, finds which receivers recorded the same session and the order of
    their segments, and names what to check. Nothing that exists is changed.

    \b
    Examples:
      miostitch init raw --dry-run
      miostitch init raw/m1 raw/m2
    """
    from miostitch.batch.proposal import propose

    collect_garbage()
    console.result(propose(folders, output, dry_run=dry_run), texts.init_text)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(), metavar="FOLDER|SESSION.yml...")
@opt.output_in(
    default=None,
    show_default=False,
    help="Folder of batch.csv and batch.html  [default: the folder of all session files]",
)
@option("--jobs", default=1, help="Sessions to run at the same time (default: 1).", **opt.positive)
@opt.force
@talking
def batch(
    paths: tuple[str, ...], output: str | None, jobs: int, force: bool, console: Console
) -> None:
    """Run all sessions that session files describe, as in FOLDER.

    Each is stitched, or with a configuration to denoise goes through workflow. A session that is
    finished and unchanged is skipped, an interrupted one is resumed, a failed one does not stop the
    others. Exit code 1: a session failed or has warnings.

    \b
    Examples:
      miostitch batch raw
      miostitch batch m1/session.yml m2/session.yml --jobs 2
    """
    from miostitch.batch.run import BatchOptions, run_batch

    def finished(outcome: "SessionOutcome") -> None:
        if not (console.quiet or console.as_json):
            click.echo(texts.outcome_line(outcome), err=True)

    options = BatchOptions(output, jobs, force)
    with console.progress("batch") as progress:
        made = run_batch(paths, options, progress=progress, finished=finished)
    console.result(made, texts.batch_text)
    if made.attention:
        click.get_current_context().exit(ATTENTION)
