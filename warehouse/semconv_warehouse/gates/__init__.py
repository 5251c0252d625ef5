"""Gates: limits that lists must keep before they are published, and a snapshot of items before it is stored."""
