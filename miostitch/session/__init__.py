"""Several receivers of one session: alignment, clocks, reboots.

`bring_together` makes a `Session` of recordings: which frame of which is the same one, on which
clock, and which buffers each received; `align` does it without videos.
"""
