"""Sessions with known truth: the device and its receivers."""
