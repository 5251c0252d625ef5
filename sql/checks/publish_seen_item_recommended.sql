-- database: publish
-- If seen items are masked, no list contains an item that the user has interacted with.
-- Comparing the hashes of (user, item) pairs first takes a fraction of the memory that comparing the pairs takes.
WITH suspect AS (
    SELECT * FROM recommendation
    WHERE hash(user_id, item_id) IN (SELECT hash(user_id, item_id) FROM warehouse.interaction)
)
SELECT suspect.user_id, suspect.rank, suspect.item_id
FROM suspect
SEMI JOIN warehouse.interaction AS interaction
    ON interaction.user_id = suspect.user_id AND interaction.item_id = suspect.item_id
WHERE EXISTS (SELECT 1 FROM run WHERE stage = 'recommend' AND settings ->> '$.recommend.seen' = 'masked')
