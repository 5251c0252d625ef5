-- database: serving
-- Items that the same people choose: the nearest behaviour vectors of one item, with the codes of each.
-- Distances are cosine distances, 0 for the same direction. An item without interactions has no vector, and no row here;
-- `code_neighbors` finds its like.
-- parameter item: which item; the first one with a vector unless set
-- parameter k: how many; 10 unless set
SELECT near.item_id, near.title, near.distance, current_item_code.semantic_id
FROM similar_item(
    coalesce(getvariable('item'), (SELECT min(item_id) FROM item_embedding)), coalesce(getvariable('k'), 10)::BIGINT
) AS near
LEFT JOIN current_item_code ON current_item_code.item_id = near.item_id
ORDER BY near.distance, near.item_id;
