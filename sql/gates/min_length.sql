-- database: generation, attached as candidate, and the served generation attached as served. Parameters: $top_k (K of recommend.top_k).
-- The mean length of the new lists, as a share of the mean length of the served lists, or of K if the lists should be shorter than those.
SELECT
    new_list.length / expected.length AS measured,
    format(
        'the new lists have {:.1f} items on average, {} {:.1f}',
        new_list.length,
        CASE WHEN expected.is_shorter THEN 'recommend.top_k is' ELSE 'the served lists have' END,
        expected.length
    ) AS found
FROM (SELECT coalesce(count(*) / nullif(count(DISTINCT user_id), 0), 0) AS length FROM candidate.recommendation) AS new_list
CROSS JOIN (
    SELECT coalesce($top_k < length, false) AS is_shorter, CASE WHEN is_shorter THEN $top_k ELSE length END AS length
    FROM (SELECT count(*) / nullif(count(DISTINCT user_id), 0) AS length FROM served.recommendation)
) AS expected
