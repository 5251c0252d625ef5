-- database: generation
-- Every item has at most one vector. Every vector belongs to an item of the table item, and all its numbers are finite.
SELECT item_id, count(*) AS num_rows
FROM item_embedding
GROUP BY item_id
HAVING count(*) > 1
    OR item_id NOT IN (SELECT item_id FROM item)
    OR NOT bool_and(isfinite(list_sum(vector::FLOAT[])))
