-- database: publish
-- With seen items masked, nothing that a user ever had is recommended to that user.
SELECT recommendation.user_id, recommendation.rank, recommendation.item_id
FROM recommendation
SEMI JOIN warehouse.interaction AS interaction
    ON interaction.user_id = recommendation.user_id AND interaction.item_id = recommendation.item_id
WHERE EXISTS (SELECT 1 FROM run WHERE stage = 'recommend' AND settings ->> '$.recommend.seen' = 'masked')
