-- database: warehouse.duckdb, after sequences.sql. Parameters: $decay, $reach, $symmetry, $history_decay, $pseudo_count, $scale, $users (user_index of the users to rank for). best_of_scored.sql ranks the scores.
-- Scores items with the smoothed transition counter. Each pair of items a, b at distance 1 to reach in a training
-- sequence adds decay^(distance - 1) to c(a, b) and symmetry times as much to c(b, a). c(a) is the sum over b, and N is
-- the number of items that occur in training. The score of item j is the sum over the items h of the history of
-- history_decay^recency * ln(1 + c(h, j) * N / (c(h) + pseudo_count) / scale); the latest item has recency 0. If fewer
-- than k items have a score, the list is filled with popular items, which get the score 0.
CREATE OR REPLACE TEMP TABLE smoothed_transition AS -- one row per item, with its successors and their weights as two lists
WITH pair AS (
    SELECT earlier.item_index AS first_item, later.item_index AS second_item, sum($decay ** (later.position - earlier.position - 1)) AS weight
    FROM train_row AS earlier JOIN train_row AS later
      ON earlier.user_index = later.user_index AND later.position > earlier.position AND later.position <= earlier.position + $reach
    GROUP BY ALL
),
both_ways AS (
    SELECT first_item AS item_index, second_item AS next_item, weight FROM pair
    UNION ALL
    SELECT second_item, first_item, $symmetry * weight FROM pair
),
summed AS (SELECT item_index, next_item, round(sum(weight), 9) AS weight FROM both_ways GROUP BY ALL),
row_sum AS (SELECT item_index, sum(weight) AS total FROM summed GROUP BY item_index),
known AS (SELECT count(DISTINCT item_index) AS items FROM train_row),
listed AS (
    SELECT summed.item_index,
           list({'item': next_item, 'weight': ln(1 + weight * items / (total + $pseudo_count) / $scale)}) AS successors
    FROM summed JOIN row_sum ON summed.item_index = row_sum.item_index CROSS JOIN known
    SEMI JOIN popular_item ON next_item = popular_item.item_index
    GROUP BY summed.item_index
)
SELECT item_index, list_transform(successors, lambda s: s.item) AS next_items,
       list_transform(successors, lambda s: s.weight) AS weights
FROM listed;

CREATE OR REPLACE TEMP TABLE scored_row AS
WITH weighted_history AS (
    SELECT user_index, item_index, $history_decay ** recency AS weight
    FROM history_row
    WHERE user_index IN (SELECT unnest($users))
),
proposal AS (
    SELECT user_index, unnest(next_items) AS item_index, weighted_history.weight * unnest(weights) AS weight
    FROM weighted_history JOIN smoothed_transition USING (item_index)
)
SELECT user_index, item_index, sum(weight) AS score FROM proposal GROUP BY ALL HAVING score > 0;
