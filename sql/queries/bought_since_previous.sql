-- database: serving
-- What was bought since the generation before, and at which place of its list the item stood.
-- Bought since is what the history holds after the last position that the generation before knew; a generation keeps the
-- last 20 items of each user. No place: the item was not on the list of that user.
WITH known AS (
    SELECT user_id, max(position) AS last_position FROM previous.user_history GROUP BY user_id
)
SELECT bought.user_id, bought.item_id, item.title, bought.event_time, listed.rank AS previous_rank
FROM user_history AS bought
LEFT JOIN known ON known.user_id = bought.user_id
LEFT JOIN previous.recommendation AS listed
    ON listed.user_id = bought.user_id AND listed.item_id = bought.item_id
LEFT JOIN item ON item.item_id = bought.item_id
WHERE bought.position > coalesce(known.last_position, -1)
ORDER BY bought.user_id, bought.position;
