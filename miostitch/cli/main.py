"""The command ``miostitch``: its commands and the modules that they are in."""

import click

from miostitch.cli import edit_commands, look_commands, stitch_commands
from miostitch.cli.exit_codes import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="miostitch")
def main() -> None:
    """Turn several receivers' recordings of one miniscope session into one clean recording.

    \b
    Start here:
      miostitch demo                            # make, stitch and show a session
      miostitch inspect A.avi B.avi             # what a run would meet
      miostitch stitch A.avi B.avi -o stitched  # stitch two recordings
    """


for command in (
    stitch_commands.stitch,
    stitch_commands.workflow,
    stitch_commands.simulate,
    stitch_commands.demo,
    edit_commands.trim,
    edit_commands.remove_frames,
    edit_commands.concat,
    edit_commands.score,
    edit_commands.denoise,
    look_commands.inspect,
    look_commands.report,
    look_commands.view,
    look_commands.verify,
    look_commands.export,
    look_commands.config,
):
    main.add_command(command)
