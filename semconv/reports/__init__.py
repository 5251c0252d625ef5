"""Reports as HTML pages and charts: the code report, the page of an evaluation, and the chart of a training."""
