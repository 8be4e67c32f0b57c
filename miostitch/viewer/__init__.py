"""The viewer: recordings and results in the browser, and the start page of a folder.

``sources`` opens files into the ``model`` of what is shown, ``server`` answers the page of that,
``cache`` keeps the blocks that were read last. ``start`` answers the start page: ``catalogue`` is
what it lists, ``jobs`` the run that it began, ``thresholds`` its page where a ``trial`` of denoise
is made. ``serving`` decides for all of them who is answered; the pages are in ``static/``. The
command calls :func:`miostitch.viewer.run.view`.
"""
