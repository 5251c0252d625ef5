-- database: warehouse.duckdb, after smoothed_pairs.sql. Parameters: $history_decay, $pseudo_count, $scale, $users (user_index of the users to rank for). best_of_scored.sql ranks the scores.
-- Scores items with the smoothed transition counter. smoothed_pairs.sql counts c(a, b) and c(a). N is the number of items
-- that occur in training. The score of item j is the sum over the items h of the history of
-- history_decay^recency * ln(1 + c(h, j) * N / (c(h) + pseudo_count) / scale); the latest item has recency 0. If fewer
-- than k items have a score, the list is filled with popular items, which get the score 0.
CREATE OR REPLACE TEMP TABLE smoothed_transition AS -- one row per item, with its successors and their weights as two lists
WITH known AS (SELECT count(DISTINCT item_index) AS items FROM train_row),
listed AS (
    SELECT smoothed_pair.item_index,
           list({'item': next_item, 'weight': ln(1 + weight * items / (total + $pseudo_count) / $scale)}) AS successors
    FROM smoothed_pair CROSS JOIN known
    SEMI JOIN popular_item ON next_item = popular_item.item_index
    GROUP BY smoothed_pair.item_index
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
