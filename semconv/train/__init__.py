"""Train a model from a value that holds everything the training needs: in the project's process, or on another machine."""
