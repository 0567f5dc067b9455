"""The training loop: steps, optimizer, checkpoints, logs, and when to stop."""
