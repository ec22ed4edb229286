"""Whether a data set is fit for use: one pass over its records, a table of what was found, a report."""
