"""One table of buffers (CSV): parser, per-frame summary, header repair, writers.

Sole home of pyarrow.
"""
