"""The stage that makes the top-K lists of users."""
