"""One receiver's recording: its files, its lag, its xarray face.

`Recording.open` opens a video with its table, once; `open_recordings` those of one session, whose
lags are measured if asked for. `open_sources` and `label_frames` make Datasets of recordings and
stores; a Dataset keeps its recording open, so that it is found again to write from it.
"""
