-- database: warehouse, with the item ids of the snapshot in the view snapshot_item. Parameters: none.
-- The share of the available items that the snapshot would remove.
SELECT
    count(*) FILTER (snapshot_item.item_id IS NULL) / nullif(count(*), 0) AS measured,
    format('the snapshot would remove {:,} of {:,} available items', count(*) FILTER (snapshot_item.item_id IS NULL), count(*)) AS found
FROM (SELECT item_id FROM item WHERE is_available) AS available_item
LEFT JOIN (SELECT DISTINCT item_id FROM snapshot_item) AS snapshot_item USING (item_id)
