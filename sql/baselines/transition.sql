-- database: warehouse.duckdb, after sequences.sql. Parameters: $decay, $symmetry, $history_decay, $alpha, $users (user_index of those asked for), $k.
-- The transition counter: T[a, b] += distance^-decay for every ordered pair of a training sequence at distance 1 to 20,
-- the reverse pair times symmetry; score of j = sum over the history, recency 0 for the latest item h, of
-- (recency + 1)^-history_decay * T[h, j] / (row sum of h + 1)^alpha. Ties by training popularity; lists that the
-- counter cannot fill are filled by popularity with score 0.
CREATE OR REPLACE TEMP TABLE transition AS -- one row an item with its successors as two lists
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
row_sum AS (SELECT item_index, sum(weight) AS total FROM summed GROUP BY item_index),
listed AS (
    SELECT summed.item_index, list({'item': next_item, 'weight': weight / (total + 1) ** $alpha}) AS successors
    FROM summed JOIN row_sum ON summed.item_index = row_sum.item_index
    SEMI JOIN popular_item ON next_item = popular_item.item_index
    GROUP BY summed.item_index
)
SELECT item_index, list_transform(successors, lambda s: s.item) AS next_items,
       list_transform(successors, lambda s: s.weight) AS weights
FROM listed;

WITH asked AS (
    SELECT user_index, item_index, (recency + 1) ** -$history_decay AS weight
    FROM history_row
    WHERE user_index IN (SELECT unnest($users))
),
asked_user AS (
    SELECT user_index, count(seen_row.item_index) AS seen_items
    FROM (SELECT DISTINCT user_index FROM asked) LEFT JOIN seen_row USING (user_index)
    GROUP BY user_index
),
proposal AS (
    SELECT user_index, unnest(next_items) AS item_index, asked.weight * unnest(weights) AS weight
    FROM asked JOIN transition USING (item_index)
),
scored AS MATERIALIZED (
    SELECT user_index, item_index, sum(weight) AS score FROM proposal GROUP BY ALL HAVING score > 0
),
-- Thousands of items have a score; sorting is for those that can be among the k best that are not seen.
threshold AS (
    SELECT user_index, list_min(max(score, $k + seen_items)) AS lowest
    FROM scored JOIN asked_user USING (user_index)
    GROUP BY user_index
),
candidate AS MATERIALIZED ( -- rounded: the order of a sum must not break ties
    SELECT user_index, item_index, round(score, 9) AS score
    FROM scored JOIN threshold USING (user_index)
    WHERE score >= lowest - 1e-9
),
best AS (
    SELECT user_index, item_index, score, row_number() OVER (PARTITION BY user_index ORDER BY score DESC, popularity_rank) AS rank
    FROM candidate JOIN popular_item USING (item_index)
    ANTI JOIN seen_row USING (user_index, item_index)
    QUALIFY rank <= $k
),
short AS ( -- users whose list the counter cannot fill
    SELECT user_index, seen_items, count(best.item_index) AS listed
    FROM asked_user LEFT JOIN best USING (user_index)
    GROUP BY ALL
    HAVING listed < $k
),
filler AS (
    SELECT user_index, item_index, listed + row_number() OVER (PARTITION BY user_index ORDER BY popularity_rank) AS rank
    FROM short JOIN popular_item ON popularity_rank < $k + listed + seen_items -- enough that are neither listed nor seen
    ANTI JOIN seen_row USING (user_index, item_index)
    ANTI JOIN best USING (user_index, item_index)
    QUALIFY rank <= $k
)
SELECT user_index, rank, item_index, score, false AS is_filler FROM best
UNION ALL
SELECT user_index, rank, item_index, 0, true FROM filler
ORDER BY user_index, rank;
