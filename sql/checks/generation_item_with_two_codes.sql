-- database: generation
-- Every item has at most one sequence of codes.
SELECT item_id, count(*) AS num_rows
FROM item_code
GROUP BY item_id
HAVING count(*) > 1
