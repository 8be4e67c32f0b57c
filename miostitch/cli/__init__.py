"""The command line: every command parses, makes one call of the library and prints.

``main`` holds the commands, ``options`` what they share. ``console`` is how they talk,
``exit_codes`` how they fail (an error of ours has its code in `miostitch.errors`), ``texts`` what
people read of results.
"""

from miostitch.cli.main import main  # the command, not its module

__all__ = ["main"]
