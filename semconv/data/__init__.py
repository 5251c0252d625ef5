"""The interface of the storage, and the arrays, splits and histories that are read through it."""
