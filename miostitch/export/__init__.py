"""Exports into the formats of other tools.

``plan`` has what all have in common; ``avi``, ``nwb`` and ``zarr`` plan and write one format each.
The command calls :func:`miostitch.export.run.export_recording`.
"""
