-- database: generation
-- No list contains an item twice.
-- Sorting the hashes of (user, item) pairs takes a fraction of the memory that sorting the pairs takes. Then only the
-- pairs whose hash occurs twice are compared.
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
