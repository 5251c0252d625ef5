-- database: warehouse
-- Positions of a user's interactions run from 0 without a gap or a double.
SELECT user_id, min(position) AS first_position, max(position) AS last_position, count(*) AS num_rows
FROM interaction
GROUP BY user_id
HAVING min(position) <> 0 OR max(position) <> count(*) - 1 OR count(DISTINCT position) <> count(*)
