"""Several receivers of one session: alignment, clocks, reboots."""
