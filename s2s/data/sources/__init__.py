"""Sources of sentence pairs: text files, tables, data sets."""
