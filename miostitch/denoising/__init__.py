"""Denoising: filters, stages, chain, noise table; `run` is the command."""
