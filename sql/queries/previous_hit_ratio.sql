-- database: serving
-- The share of users who bought an item among the first k of their list of the previous generation.
-- Only users who had a list in the previous generation and have bought something since are counted. The query measures
-- this share on published lists, while `hit_ratio` in the table `metric` is measured on held-out items. An item counts
-- as bought since the previous generation if it comes after all items that the previous generation has in the user's
-- history. Only events of the view `target_event` count: no views and carts if `events.targets` names purchases only, and
-- no returned items.
WITH known AS (
    SELECT user_id, max(position) AS last_position FROM previous.user_history GROUP BY user_id
),
bought AS (
    SELECT target_event.user_id, target_event.item_id
    FROM target_event
    LEFT JOIN known ON known.user_id = target_event.user_id
    WHERE target_event.position > coalesce(known.last_position, -1)
      AND target_event.user_id IN (SELECT user_id FROM previous.recommendation)
),
best AS (
    SELECT bought.user_id, min(listed.rank) AS best_rank
    FROM bought
    LEFT JOIN previous.recommendation AS listed
        ON listed.user_id = bought.user_id AND listed.item_id = bought.item_id
    GROUP BY bought.user_id
)
SELECT
    cutoff.k,
    count(*) AS num_users,
    count(*) FILTER (best.best_rank <= cutoff.k) AS num_hits,
    num_hits / num_users AS hit_ratio
FROM best
CROSS JOIN (VALUES (1), (5), (10), (20)) AS cutoff (k)
GROUP BY cutoff.k
ORDER BY cutoff.k;
