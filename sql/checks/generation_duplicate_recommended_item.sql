-- database: generation
-- A user's list holds an item once.
-- Pairs are met by their hash, which takes a fraction of their room, in its order, where equal ones lie side by side; those
-- that share one are then looked at themselves.
WITH suspect AS (
    SELECT pair
    FROM (
        SELECT pair, lag(pair) OVER (ORDER BY pair) AS pair_before
        FROM (SELECT hash(user_id, item_id) AS pair FROM recommendation)
    )
    WHERE pair = pair_before
)
SELECT user_id, item_id, count(*) AS num_rows
FROM recommendation
WHERE hash(user_id, item_id) IN (SELECT pair FROM suspect)
GROUP BY user_id, item_id
HAVING count(*) > 1
