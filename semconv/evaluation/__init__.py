"""Top-K -> figures: hit ratio and NDCG with intervals, by segment, and paired comparisons."""
