"""The settings tree, how it is loaded, and the text a user reads about it."""
