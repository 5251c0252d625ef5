-- database: generation
-- No removed or unavailable item is recommended.
SELECT recommendation.user_id, recommendation.rank, recommendation.item_id, item.removed_at
FROM recommendation
JOIN item ON item.item_id = recommendation.item_id
WHERE NOT item.is_available OR item.removed_at IS NOT NULL
