-- database: generation
-- A user's list holds an item once.
-- Pairs are counted by their hash, which takes a fraction of their room; those that share one are then looked at themselves.
WITH suspect AS (
    SELECT pair FROM (SELECT hash(user_id, item_id) AS pair FROM recommendation) GROUP BY pair HAVING count(*) > 1
)
SELECT user_id, item_id, count(*) AS num_rows
FROM recommendation
WHERE hash(user_id, item_id) IN (SELECT pair FROM suspect)
GROUP BY user_id, item_id
HAVING count(*) > 1
