-- database: generation
-- Every recommended item, and every item given as a reason, is in the catalogue.
SELECT user_id, rank, item_id, reason_item_id
FROM recommendation
WHERE item_id IS NULL
   OR item_id NOT IN (SELECT item_id FROM item)
   OR (reason_item_id IS NOT NULL AND reason_item_id NOT IN (SELECT item_id FROM item))
