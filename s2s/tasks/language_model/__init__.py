"""Language models: text without a source."""
