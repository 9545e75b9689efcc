"""Tasks: the model that each one trains, its loss and its validation."""
