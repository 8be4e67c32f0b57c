"""Pictures and rows brought together: which frame of its table each picture of a video shows."""
