-- database: memory, with a paired comparison of the new method (ours) and popularity (theirs) in comparison. Parameters: none.
-- The difference of NDCG on held-out items from popularity, at the upper end of its interval; below 0 the new method is worse.
SELECT
    ci_high AS measured,
    format(
        'NDCG@{} is {:.4f} with the new {} and {:.4f} with {} on the same {:,} users, the interval of the difference is {:.4f} to {:.4f}',
        k, ours, our_method, theirs, their_method, num_users, ci_low, ci_high
    ) AS found
FROM comparison
WHERE name = 'ndcg' AND k <= 10
ORDER BY k DESC
LIMIT 1
