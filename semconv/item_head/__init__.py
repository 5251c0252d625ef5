"""A history as items: one position of the decoder for each item, and a head that scores whole items."""
