-- database: serving
-- Whom to tell about one item: users with it on their list, those who have it highest first.
-- parameter item: which item; the most recommended one unless set
-- parameter k: how many users; 100 unless set
SELECT user_id, rank, score, title, reason_title
FROM current_recommendation
WHERE item_id = coalesce(
    getvariable('item'),
    (SELECT item_id FROM recommendation GROUP BY item_id ORDER BY count(*) DESC, item_id LIMIT 1)
)
ORDER BY rank, score DESC, user_id
LIMIT coalesce(getvariable('k'), 100)::BIGINT;
