"""Training: loss, optimizer and schedule, resumable state, the loop, validation."""
