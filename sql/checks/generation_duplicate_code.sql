-- database: generation
-- If the code set resolves collisions, no two items have the same codes.
SELECT semantic_id, count(*) AS num_items, min(item_id) AS an_item, max(item_id) AS another_item
FROM item_code
WHERE EXISTS (SELECT 1 FROM run WHERE stage = 'codebook' AND settings ->> '$.codebook.collisions' = 'resolve')
GROUP BY semantic_id
HAVING count(*) > 1
