"""The command line: commands, options, console and texts."""
