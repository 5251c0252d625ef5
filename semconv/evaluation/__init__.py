"""Evaluation: figures of lists with bootstrap intervals, by segment of users, and paired comparisons of methods."""
