"""Where frames are from: the files next to a recording, and the recordings of a result.

`find_origin` opens a video or a store with its sidecars, to write some of its frames with all that
is known of them; `find_originals` finds the recordings that a result was made of.
"""
