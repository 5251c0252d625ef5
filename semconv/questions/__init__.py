"""Answers to questions in words: text matching, and the fusion of text matching with a model and a user's history."""
