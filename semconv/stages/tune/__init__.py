"""The stage that tunes the backbone."""
