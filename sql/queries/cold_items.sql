-- database: serving
-- Items known by their text alone, new ones or with too few interactions to learn from, and how far lists carry them.
-- Without a `semantic_id` an item has no codes yet and cannot be recommended: it has no text, or came after the last
-- `semconv run`.
-- parameter k: how many; 100 unless set
SELECT
    item.item_id,
    item.title,
    item_code.semantic_id,
    count(recommendation.user_id) AS num_users,
    min(recommendation.rank) AS best_rank
FROM item
LEFT JOIN item_code ON item_code.item_id = item.item_id
LEFT JOIN recommendation ON recommendation.item_id = item.item_id
WHERE item.is_available AND (item_code.item_id IS NULL OR item_code.vector_source = 'mapped-from-text')
GROUP BY item.item_id, item.title, item_code.semantic_id
ORDER BY num_users DESC, item.item_id
LIMIT coalesce(getvariable('k'), 100)::BIGINT;
