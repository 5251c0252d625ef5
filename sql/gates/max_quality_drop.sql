-- database: memory, with a paired comparison of the new method (ours) and the served one (theirs) in comparison. Parameters: none.
-- The relative fall of NDCG on held-out items, at the end of the interval of the paired difference that is best for the new method.
SELECT
    -ci_high / nullif(theirs, 0) AS measured,
    format(
        'NDCG@{} is {:.4f} with the new {} and {:.4f} with the served {} on the same {:,} users, the interval of the difference is {:.4f} to {:.4f}',
        k, ours, our_method, theirs, their_method, num_users, ci_low, ci_high
    ) AS found
FROM comparison
WHERE name = 'ndcg' AND k <= 10
ORDER BY k DESC
LIMIT 1
