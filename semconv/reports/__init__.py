"""Reports as HTML pages and charts: the code report, the evaluation, and the course of a training."""
