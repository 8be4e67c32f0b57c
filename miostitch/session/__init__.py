"""Several receivers of one session: alignment, clocks, reboots, behaviour cameras.

`bring_together` makes a `Session` of recordings: which frame of which is the same one, on which
clock, and which buffers each received; `align` does it without videos.
`behaviour` aligns a recording with a behaviour camera, by the times of both.
"""
