-- database: warehouse.duckdb, after sequences.sql. Parameters: $decay, $symmetry, $history_decay, $alpha, $users (user_index of those asked for), $k.
-- The transition counter: T[a, b] += distance^-decay for every ordered pair of a training sequence at distance 1 to 20,
-- the reverse pair times symmetry; score of j = sum over the history, recency 0 for the latest item h, of
-- (recency + 1)^-history_decay * T[h, j] / (row sum of h + 1)^alpha. Ties by training popularity; lists that the
-- counter cannot fill are filled by popularity with score 0.
CREATE OR REPLACE TEMP TABLE transition AS -- one row an item: its successors and their weights as two lists
WITH pair AS (
    SELECT earlier.item_index AS first_item, later.item_index AS second_item, sum((later.place - earlier.place) ** -$decay) AS weight
    FROM train_row AS earlier JOIN train_row AS later
      ON earlier.user_index = later.user_index AND later.place > earlier.place AND later.place <= earlier.place + 20
    GROUP BY ALL
),
both_ways AS (
    SELECT first_item AS item_index, second_item AS next_item, weight FROM pair
    UNION ALL
    SELECT second_item, first_item, $symmetry * weight FROM pair
),
summed AS (SELECT item_index, next_item, sum(weight) AS weight FROM both_ways GROUP BY ALL),
row_sum AS (SELECT item_index, sum(weight) AS total FROM summed GROUP BY item_index)
SELECT summed.item_index, list(next_item ORDER BY next_item) AS next_items, list(weight / (total + 1) ** $alpha ORDER BY next_item) AS weights
FROM summed JOIN row_sum ON summed.item_index = row_sum.item_index
SEMI JOIN popular_item ON next_item = popular_item.item_index
GROUP BY summed.item_index;

WITH asked AS (
    SELECT user_index, item_index, (recency + 1) ** -$history_decay AS weight
    FROM history_row
    WHERE user_index IN (SELECT unnest($users))
),
proposal AS (
    SELECT user_index, unnest(next_items) AS item_index, asked.weight * unnest(weights) AS weight
    FROM asked JOIN transition USING (item_index)
    UNION ALL -- what is seen sinks to the bottom, which is cheaper than an anti join over all proposals
    SELECT user_index, item_index, '-infinity'::DOUBLE FROM seen_row WHERE user_index IN (SELECT unnest($users))
),
scored AS MATERIALIZED ( -- rounded: the order of a sum must not break ties
    SELECT user_index, item_index, round(sum(weight), 9) AS score FROM proposal GROUP BY ALL HAVING sum(weight) > 0
),
threshold AS (SELECT user_index, list_min(max(score, $k)) AS lowest FROM scored GROUP BY user_index),
best AS (
    SELECT user_index, item_index, score, row_number() OVER (PARTITION BY user_index ORDER BY score DESC, popularity_rank) AS rank
    FROM scored JOIN threshold USING (user_index) JOIN popular_item USING (item_index)
    WHERE score >= lowest
    QUALIFY rank <= $k
),
short AS ( -- users whose list the counter cannot fill, and how many popular items may be taken already
    SELECT user_index, coalesce(listed, 0) AS listed, coalesce(listed, 0) + coalesce(seen_items, 0) AS taken
    FROM (SELECT DISTINCT user_index FROM asked)
    LEFT JOIN (SELECT user_index, count(*) AS listed FROM best GROUP BY user_index) USING (user_index)
    LEFT JOIN (SELECT user_index, count(*) AS seen_items FROM seen_row GROUP BY user_index) USING (user_index)
    WHERE coalesce(listed, 0) < $k
),
filler AS (
    SELECT user_index, item_index, listed + row_number() OVER (PARTITION BY user_index ORDER BY popularity_rank) AS rank
    FROM short JOIN popular_item ON popularity_rank < $k + taken
    ANTI JOIN seen_row USING (user_index, item_index)
    ANTI JOIN best USING (user_index, item_index)
    QUALIFY rank <= $k
)
SELECT user_index, rank, item_index, score FROM best
UNION ALL
SELECT user_index, rank, item_index, 0 FROM filler
ORDER BY user_index, rank;
