-- database: warehouse
-- The values of item_index run from 0 without gaps.
SELECT min(item_index) AS first_index, max(item_index) AS last_index, count(*) AS num_items
FROM item
HAVING count(*) > 0 AND (min(item_index) <> 0 OR max(item_index) <> count(*) - 1)
