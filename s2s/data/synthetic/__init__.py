"""A synthetic corpus from the rules of three languages."""
