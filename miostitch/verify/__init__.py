"""Verification of results against their inputs."""
