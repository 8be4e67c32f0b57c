"""Exports into the formats of other tools.

``plan`` has what all have in common, ``selection`` the part that is exported, ``frame_columns``
what is known per frame; ``avi`` (minian, and short videos in general), ``ucla``, ``tiff``,
``hdf5``, ``nwb``, ``zarr`` and ``mp4`` plan and write one format each, ``chunks`` compresses those
of HDF5. The command calls :func:`miostitch.export.run.export_recording`.
"""
