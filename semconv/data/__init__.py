"""The interface of the storage with its arrays, splits and histories."""
