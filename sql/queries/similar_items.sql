-- database: serving
-- The items whose behaviour vectors are nearest to that of one given item, with their codes.
-- The same users tend to choose items with near vectors. Distances are cosine distances; 0 means the same direction.
-- For an item without a behaviour vector, this query returns no rows; use the query `code_neighbors` instead.
-- parameter item: id of the given item; default: the first item that has a vector
-- parameter k: largest number of rows to return; default: 10
SELECT near.item_id, near.title, near.distance, current_item_code.semantic_id
FROM similar_item(
    coalesce(getvariable('item'), (SELECT min(item_id) FROM item_embedding)), coalesce(getvariable('k'), 10)::BIGINT
) AS near
LEFT JOIN current_item_code ON current_item_code.item_id = near.item_id
ORDER BY near.distance, near.item_id;
