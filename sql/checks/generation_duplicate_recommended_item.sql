-- database: generation
-- A user's list holds an item once.
SELECT user_id, item_id, count(*) AS num_rows
FROM recommendation
GROUP BY user_id, item_id
HAVING count(*) > 1
