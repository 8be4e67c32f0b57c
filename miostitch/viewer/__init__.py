"""The viewer: recordings and results in the browser.

``sources`` opens files into the ``model`` of what is shown, ``server`` answers the page in
``static/``, ``cache`` keeps the blocks that were read last. The command calls
:func:`miostitch.viewer.run.view`.
"""
