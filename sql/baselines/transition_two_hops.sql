-- database: warehouse.duckdb, after smoothed_pairs.sql. Parameters: $history_decay, $scale, $hop_items, $hop_successors, $users (user_index of the users to rank for). best_of_scored.sql ranks the scores.
-- Scores items with transitions over two hops. smoothed_pairs.sql counts c(a, b) and c(a), and
-- N is the number of items that occur in training. c2(i, j) is the
-- sum over the hop_successors strongest successors m of item i of c(i, m) * c(m, j) / (c(i) * c(m)), with the strongest
-- successors j of m. The score of item j is ln(1 + N * s / scale), where s is the sum of history_decay^recency * c2(h, j)
-- over the latest hop_items items h of the history. If fewer than k items have a score, the list is filled with popular
-- items, which get the score 0.
CREATE OR REPLACE TEMP TABLE hop AS
SELECT item_index, next_item, weight / total AS share
FROM smoothed_pair
WHERE weight > 0
QUALIFY row_number() OVER (PARTITION BY item_index ORDER BY weight DESC, next_item) <= $hop_successors;

CREATE OR REPLACE TEMP TABLE scored_row AS
WITH latest AS (
    SELECT user_index, item_index, $history_decay ** recency AS weight
    FROM history_row
    WHERE user_index IN (SELECT unnest($users)) AND recency < $hop_items
),
first_hop AS (
    SELECT user_index, next_item AS item_index, sum(weight * share) AS weight
    FROM latest JOIN hop USING (item_index)
    GROUP BY ALL
),
second_hop AS (
    SELECT user_index, next_item AS item_index, sum(weight * share) AS weight
    FROM first_hop JOIN hop USING (item_index)
    GROUP BY ALL
),
known AS (SELECT count(DISTINCT item_index) AS items FROM train_row)
SELECT user_index, item_index, ln(1 + items * weight / $scale) AS score
FROM second_hop SEMI JOIN popular_item USING (item_index) CROSS JOIN known
WHERE score > 0;
