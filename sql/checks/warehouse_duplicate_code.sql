-- database: warehouse
-- If a code set resolves collisions, no two items in it have the same codes.
SELECT item_code.code_set_run_id, item_code.semantic_id, count(DISTINCT item_code.item_id) AS num_items
FROM item_code
JOIN run ON run.run_id = item_code.code_set_run_id
WHERE run.settings ->> '$.codebook.collisions' = 'resolve'
GROUP BY item_code.code_set_run_id, item_code.semantic_id
HAVING count(DISTINCT item_code.item_id) > 1
