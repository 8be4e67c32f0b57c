"""One video file: the index of an AVI, sources, readers and writers. Sole home of PyAV."""
