"""The quality report of a result."""
