"""One Zarr store: layout, chunks, files on the disk, reader, validation. Sole home of zarr.

`Store.open` opens a finished store, and everything that is read of its tables is a view of it. A
store that is being written is named by its path, for blocks are written by many processes.
"""
