"""Commands that look at results, check them, and carry them on."""

import click

commands: tuple[click.Command, ...] = ()
