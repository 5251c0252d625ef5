-- database: serving
-- For each user whose list changed since the previous generation, the items that were added to the list or dropped from it.
-- If the user had no list before, `dropped` is NULL. If the user has no list now, `added` is NULL.
WITH was AS (SELECT user_id, list(item_id ORDER BY rank) AS items FROM previous.recommendation GROUP BY user_id),
now_is AS (SELECT user_id, list(item_id ORDER BY rank) AS items FROM recommendation GROUP BY user_id)
SELECT
    user_id,
    list_filter(now_is.items, lambda item: NOT list_contains(coalesce(was.items, []), item)) AS added,
    list_filter(was.items, lambda item: NOT list_contains(coalesce(now_is.items, []), item)) AS dropped
FROM now_is
FULL JOIN was USING (user_id)
WHERE now_is.items IS DISTINCT FROM was.items
ORDER BY user_id;
