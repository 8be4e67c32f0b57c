"""Stitching: selection and composition of frames, tables, summary; `run` is the command."""
