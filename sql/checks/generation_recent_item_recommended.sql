-- database: generation
-- If seen items are masked, no list contains an item of the user's stored history.
SELECT recommendation.user_id, recommendation.rank, recommendation.item_id
FROM recommendation
SEMI JOIN user_history
    ON user_history.user_id = recommendation.user_id AND user_history.item_id = recommendation.item_id
WHERE EXISTS (SELECT 1 FROM run WHERE stage = 'recommend' AND settings ->> '$.recommend.seen' = 'masked')
