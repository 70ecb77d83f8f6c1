"""From the records of studies to what is read of them: comparisons, words, tables, figures."""
