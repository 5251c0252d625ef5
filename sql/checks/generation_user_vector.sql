-- database: generation
-- User vectors are one a user, and hold finite numbers alone.
SELECT user_id, count(*) AS num_rows
FROM user_embedding
GROUP BY user_id
HAVING count(*) > 1 OR NOT bool_and(isfinite(list_sum(vector::FLOAT[])))
