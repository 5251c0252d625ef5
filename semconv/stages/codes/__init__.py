"""The stages that fit codes, load external codes, and assign codes to new items."""
