"""Compiled loops: scores of frames, composition of buffers, stripes. Sole home of numba."""
