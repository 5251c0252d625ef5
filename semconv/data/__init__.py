"""The interface of the storage, the arrays that it returns, and the splits and histories of these arrays."""
