"""What stages read and write: the storage protocol, splits, histories."""
