"""Where text comes from: files, tables, data sets, splits."""
