"""Reports on runs: the list of runs, their comparison, and one HTML page about a run."""
