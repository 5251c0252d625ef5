-- database: generation
-- Every recommended item and every reason item is in the table item.
-- The lists have few different items, so these are looked up first. Then only unknown items are searched for in the
-- rows.
WITH named AS (
    SELECT item_id FROM recommendation GROUP BY item_id
    UNION
    SELECT reason_item_id FROM recommendation GROUP BY reason_item_id
),
unknown AS (
    SELECT item_id FROM named WHERE item_id IS NOT NULL AND item_id NOT IN (SELECT item_id FROM item)
)
SELECT user_id, rank, item_id, reason_item_id
FROM recommendation
WHERE item_id IS NULL
   OR item_id IN (SELECT item_id FROM unknown)
   OR reason_item_id IN (SELECT item_id FROM unknown)
