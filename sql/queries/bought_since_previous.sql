-- database: serving
-- The items that users bought since the previous generation, with the rank of each in the user's previous list.
-- An item counts as bought since the previous generation if it comes after all items that the previous generation has
-- in the user's history. A generation keeps only the last 20 events of each history. Only events of the view `target_event`
-- count, so views and carts do not count if `events.targets` names purchases only, and returned items do not count.
-- `previous_rank` is NULL if the item was not on the user's previous list.
WITH known AS (
    SELECT user_id, max(position) AS last_position FROM previous.user_history GROUP BY user_id
)
SELECT bought.user_id, bought.item_id, item.title, bought.event_time, listed.rank AS previous_rank
FROM target_event AS bought
LEFT JOIN known ON known.user_id = bought.user_id
LEFT JOIN previous.recommendation AS listed
    ON listed.user_id = bought.user_id AND listed.item_id = bought.item_id
LEFT JOIN item ON item.item_id = bought.item_id
WHERE bought.position > coalesce(known.last_position, -1)
ORDER BY bought.user_id, bought.position;
