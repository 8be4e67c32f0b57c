"""One table of buffers (CSV): parser, per-frame summary, header repair, writers.

`read_metadata` reads a table in one pass into a `Metadata`: a `FrameTable` that answers for the
frames, and rows within reach. `TableWriter` and `BufferTable` write rows, whose columns `schema`
lists. Sole home of pyarrow.
"""
