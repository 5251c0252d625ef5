"""Answer questions in words, and fit and measure the weights of the answers."""
