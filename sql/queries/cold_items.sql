-- database: serving
-- Available items with too few interactions to learn from, and the number of lists that have each of these items.
-- Items with too few interactions get their codes from their text. An item without a `semantic_id` has no codes and
-- cannot be recommended. An item without codes has no text, or it was ingested after the last `semconv run`.
-- parameter k: largest number of rows to return; default: 100
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
