-- database: warehouse
-- Every item with codes is in the table item.
SELECT run_id, item_id, semantic_id
FROM item_code
WHERE item_id NOT IN (SELECT item_id FROM item)
