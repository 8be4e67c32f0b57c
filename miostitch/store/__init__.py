"""One Zarr store: layout, chunks, groups, validation. Sole home of zarr."""
