-- database: serving
-- Items that the same people choose: those with the nearest behaviour vectors to one item, with their codes.
-- Distances are cosine distances, 0 for the same direction. An item without a behaviour vector has no rows here; use
-- `code_neighbors` for it.
-- parameter item: id of the item; default: the first item that has a vector
-- parameter k: number of rows; default: 10
SELECT near.item_id, near.title, near.distance, current_item_code.semantic_id
FROM similar_item(
    coalesce(getvariable('item'), (SELECT min(item_id) FROM item_embedding)), coalesce(getvariable('k'), 10)::BIGINT
) AS near
LEFT JOIN current_item_code ON current_item_code.item_id = near.item_id
ORDER BY near.distance, near.item_id;
