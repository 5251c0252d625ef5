-- database: warehouse.duckdb, after sequences.sql. Parameters: $decay, $symmetry, $history_decay, $alpha, $users (user_index of those asked for). best_of_scored.sql ranks.
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

CREATE OR REPLACE TEMP TABLE scored_row AS
WITH asked AS (
    SELECT user_index, item_index, (recency + 1) ** -$history_decay AS weight
    FROM history_row
    WHERE user_index IN (SELECT unnest($users))
),
proposal AS (
    SELECT user_index, unnest(next_items) AS item_index, asked.weight * unnest(weights) AS weight
    FROM asked JOIN transition USING (item_index)
)
SELECT user_index, item_index, sum(weight) AS score FROM proposal GROUP BY ALL HAVING score > 0;
