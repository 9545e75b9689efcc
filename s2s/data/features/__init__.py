"""Image features: a vector or a grid of regions for every id, read from the disk in batches."""
