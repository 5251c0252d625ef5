-- database: generation
-- This view has the top-K list of every user, with titles. Add ORDER BY rank, because the rows of a view have no order.
-- The view has the columns of the table recommendation in the same order, and the titles between them.
CREATE VIEW current_recommendation AS
SELECT
    recommendation.user_id,
    recommendation.rank,
    recommendation.item_id,
    item.title,
    recommendation.* EXCLUDE (user_id, rank, item_id, generation),
    reason.title AS reason_title,
    recommendation.generation
FROM recommendation
LEFT JOIN item ON item.item_id = recommendation.item_id
LEFT JOIN item AS reason ON reason.item_id = recommendation.reason_item_id;
