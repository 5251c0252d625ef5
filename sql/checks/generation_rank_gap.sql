-- database: generation
-- Ranks of a user run from 1 without a gap.
SELECT user_id, min(rank) AS first_rank, max(rank) AS last_rank, count(*) AS num_rows
FROM recommendation
GROUP BY user_id
HAVING min(rank) <> 1 OR max(rank) <> count(*) OR count(rank) <> count(*)
