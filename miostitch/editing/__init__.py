"""Trim, remove frames, concatenate, and write what was edited; `run` is the command."""
