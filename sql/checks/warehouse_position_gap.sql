-- database: warehouse
-- The positions of each user's interactions run from 0 without gaps or duplicates.
SELECT user_id, min(position) AS first_position, max(position) AS last_position, count(*) AS num_rows
FROM interaction
GROUP BY user_id
HAVING min(position) <> 0 OR max(position) <> count(*) - 1 OR count(DISTINCT position) <> count(*)
