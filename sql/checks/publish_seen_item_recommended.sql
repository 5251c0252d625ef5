-- database: publish
-- With seen items masked, nothing that a user ever had is recommended to that user.
-- Pairs are met by their hash first, which takes a fraction of their room.
WITH suspect AS (
    SELECT * FROM recommendation
    WHERE hash(user_id, item_id) IN (SELECT hash(user_id, item_id) FROM warehouse.interaction)
)
SELECT suspect.user_id, suspect.rank, suspect.item_id
FROM suspect
SEMI JOIN warehouse.interaction AS interaction
    ON interaction.user_id = suspect.user_id AND interaction.item_id = suspect.item_id
WHERE EXISTS (SELECT 1 FROM run WHERE stage = 'recommend' AND settings ->> '$.recommend.seen' = 'masked')
