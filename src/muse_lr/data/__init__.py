"""Reference data: reading and checking files, data sets, batches."""
