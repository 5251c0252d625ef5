-- database: generation
-- Every user has at most one vector, and all numbers of the vector are finite.
SELECT user_id, count(*) AS num_rows
FROM user_embedding
GROUP BY user_id
HAVING count(*) > 1 OR NOT bool_and(isfinite(list_sum(vector::FLOAT[])))
