-- database: serving
-- Whom to tell about one item: users with it on their list, those who have it highest first.
WITH wanted AS (SELECT min(item_id) AS item_id FROM recommendation) -- put in: SELECT 'your item' AS item_id
SELECT user_id, rank, score, reason_title
FROM current_recommendation
WHERE item_id = (SELECT item_id FROM wanted)
ORDER BY rank, score DESC, user_id
LIMIT 100;
