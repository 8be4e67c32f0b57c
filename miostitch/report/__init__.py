"""The quality report of a result: one page of HTML, made from its store and its summary.

``data`` reads the tables, with their times (``clock``); ``statistics`` and ``over_time`` compute
from them; ``headline`` and ``tables`` put it into words and numbers, ``thumbnails`` shows frames,
``page`` fills ``templates/``: the page, its plots, and ``palette.css``, the colours that the viewer
shares. ``run`` does it all: :func:`miostitch.report.run.write_report` for a stitch,
``report_files`` for the command.
"""
