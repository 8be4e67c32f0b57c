"""Configurations of denoising: their models, the shipped files, strict YAML, thresholds."""
