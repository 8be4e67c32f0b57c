"""One receiver's recording: its files, its lag, its xarray face, its sidecars and provenance.

`Recording.open` opens a video with its table, once; `open_recordings` those of one session, whose
lags are measured if asked for. `open_sources` and `label_frames` make Datasets of recordings and
stores; a Dataset keeps its recording open, and `find_origin` finds that again to write from it.
"""
