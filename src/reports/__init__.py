"""Reports on the records of studies: comparisons in words, tables and figures."""
