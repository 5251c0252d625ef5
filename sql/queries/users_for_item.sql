-- database: serving
-- The users who have one given item on their list, best rank first; for example, to send these users a mailing.
-- parameter item: id of the given item; default: the most recommended item
-- parameter k: largest number of users to return; default: 100
SELECT user_id, rank, score, title, reason_title
FROM current_recommendation
WHERE item_id = coalesce(
    getvariable('item'),
    (SELECT item_id FROM recommendation GROUP BY item_id ORDER BY count(*) DESC, item_id LIMIT 1)
)
ORDER BY rank, score DESC, user_id
LIMIT coalesce(getvariable('k'), 100)::BIGINT;
