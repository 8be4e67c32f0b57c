"""One receiver's recording: its files, its lag, its xarray face, its sidecars and provenance."""
