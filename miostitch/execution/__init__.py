"""How blocks are run and results published: executors, block engine, checkpoints, workspace."""
