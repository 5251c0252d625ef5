-- database: generation
-- With seen items masked, nothing of a user's stored history is recommended to that user.
SELECT recommendation.user_id, recommendation.rank, recommendation.item_id
FROM recommendation
SEMI JOIN user_history
    ON user_history.user_id = recommendation.user_id AND user_history.item_id = recommendation.item_id
WHERE EXISTS (SELECT 1 FROM run WHERE stage = 'recommend' AND settings ->> '$.recommend.seen' = 'masked')
