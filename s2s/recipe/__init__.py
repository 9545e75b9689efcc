"""The recipe: typed sections, rules between them, YAML with places for its faults."""
