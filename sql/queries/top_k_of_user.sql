-- database: serving
-- The top 10 of one user with titles, and the item of the history that speaks most for each.
WITH wanted AS (SELECT min(user_id) AS user_id FROM recommendation) -- put in: SELECT 'your user' AS user_id
SELECT rank, item_id, title, score, sources, reason_title
FROM current_recommendation
WHERE user_id = (SELECT user_id FROM wanted) AND rank <= 10
ORDER BY rank;
