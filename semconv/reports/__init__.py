"""Reports as HTML pages and charts."""
