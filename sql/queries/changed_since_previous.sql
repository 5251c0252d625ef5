-- database: serving
-- Per user, what the served generation brought to the list and took from it since the one before.
-- A user who is new has everything added; one who lost the list, everything dropped.
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
