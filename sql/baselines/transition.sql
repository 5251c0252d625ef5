-- database: warehouse.duckdb, after sequences.sql. Parameters: $decay, $symmetry, $history_decay, $alpha, $users (user_index of the users to rank for). best_of_scored.sql ranks the scores.
-- Scores items with the transition counter T. Each pair of items a, b at distance 1 to 20 in a training sequence adds
-- distance^-decay, times the weights of both interactions, to T[a, b] and symmetry times as much to T[b, a]. The score of item j is the sum over the items h of
-- the history of (recency + 1)^-history_decay * T[h, j] / (row sum of h + 1)^alpha; the latest item has recency 0. If
-- fewer than k items have a score, the list is filled with popular items, which get the score 0.
CREATE OR REPLACE TEMP TABLE transition AS -- one row per item, with its successors and their weights as two lists
WITH pair AS (
    SELECT earlier.item_index AS first_item, later.item_index AS second_item, sum(earlier.weight * later.weight * (later.position - earlier.position) ** -$decay) AS weight
    FROM train_row AS earlier JOIN train_row AS later
      ON earlier.user_index = later.user_index AND later.position > earlier.position AND later.position <= earlier.position + 20
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
WITH weighted_history AS (
    SELECT user_index, item_index, (recency + 1) ** -$history_decay AS weight
    FROM history_row
    WHERE user_index IN (SELECT unnest($users))
),
proposal AS (
    SELECT user_index, unnest(next_items) AS item_index, weighted_history.weight * unnest(weights) AS weight
    FROM weighted_history JOIN transition USING (item_index)
)
SELECT user_index, item_index, sum(weight) AS score FROM proposal GROUP BY ALL HAVING score > 0;
