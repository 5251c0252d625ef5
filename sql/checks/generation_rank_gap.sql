-- database: generation
-- Rows are sorted by user and rank, and the ranks of every list run from 1 without gaps or duplicates.
-- OVER () keeps the order of the table, so one scan is enough.
SELECT user_id, rank, user_before, rank_before
FROM (
    SELECT user_id, rank, lag(user_id) OVER () AS user_before, lag(rank) OVER () AS rank_before FROM recommendation
)
WHERE user_before > user_id
    OR rank IS DISTINCT FROM CASE WHEN user_before = user_id THEN rank_before + 1 ELSE 1 END
