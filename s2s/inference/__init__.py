"""A trained run as a function from lines to lines."""
