"""A corpus made by the rules of three languages."""
