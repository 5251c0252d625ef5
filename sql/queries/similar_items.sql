-- database: serving
-- Items that the same people choose: nearest behaviour vectors of one item, with the codes both have.
WITH wanted AS (SELECT min(item_id) AS item_id FROM item_embedding) -- put in: SELECT 'your item' AS item_id
SELECT near.item_id, near.title, near.distance, current_item_code.semantic_id
FROM similar_item((SELECT item_id FROM wanted), 10) AS near
LEFT JOIN current_item_code ON current_item_code.item_id = near.item_id
ORDER BY near.distance, near.item_id;
