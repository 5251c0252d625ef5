-- database: generation
-- The published top-K of every user, with titles; ORDER BY rank is the reader's to add.
CREATE VIEW current_recommendation AS
SELECT
    recommendation.user_id,
    recommendation.rank,
    recommendation.item_id,
    item.title,
    recommendation.score,
    recommendation.sources,
    recommendation.reason_item_id,
    reason.title AS reason_title,
    recommendation.generation
FROM recommendation
LEFT JOIN item ON item.item_id = recommendation.item_id
LEFT JOIN item AS reason ON reason.item_id = recommendation.reason_item_id;
