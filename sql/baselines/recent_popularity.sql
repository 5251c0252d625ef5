-- database: warehouse.duckdb, after sequences.sql. Parameters: $half_life_days, $users (user_index of the users to rank for), $k.
-- Lists the items with the most training interactions. Each interaction has the weight 2^-(age / half life), times the
-- weight of its event type. The age of an interaction is the time from this interaction to the newest training interaction.
-- A time more than a day in the future is wrong and counts as no time. An interaction without a time is as old as the
-- oldest; if none has a time, no age counts.
CREATE OR REPLACE TEMP TABLE recent_item AS
WITH dated AS (
    SELECT item_index, weight, CASE WHEN epoch(event_time) <= epoch(now()) + 86400 THEN event_time END AS event_time
    FROM train_row
),
bounds AS (SELECT min(event_time) AS oldest, max(event_time) AS newest FROM dated),
weighted AS (
    SELECT item_index,
           sum(dated.weight * coalesce(2 ** -(epoch(newest - coalesce(event_time, oldest)) / 86400 / $half_life_days), 1)) AS weight
    FROM dated CROSS JOIN bounds
    GROUP BY item_index
)
SELECT item_index, round(coalesce(weight, 0), 9) AS weight, -- rounded, so that the order of additions in a sum breaks no tie
       row_number() OVER (ORDER BY round(coalesce(weight, 0), 9) DESC, popularity_rank) - 1 AS recent_rank
FROM popular_item LEFT JOIN weighted USING (item_index);

WITH user_seen AS (
    SELECT user_index, count(seen_row.item_index) AS seen_items
    FROM (SELECT DISTINCT user_index FROM history_row WHERE user_index IN (SELECT unnest($users)))
    LEFT JOIN seen_row USING (user_index)
    GROUP BY user_index
)
SELECT user_index, row_number() OVER (PARTITION BY user_index ORDER BY recent_rank) AS rank, item_index, weight AS score
FROM user_seen JOIN recent_item ON recent_rank < $k + seen_items -- enough to leave k after removing seen items
ANTI JOIN seen_row USING (user_index, item_index)
QUALIFY rank <= $k
ORDER BY user_index, rank;
