"""Pictures and labels from folders, lists and named data sets -> checked, leak-free, seeded batches."""
