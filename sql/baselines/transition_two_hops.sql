-- database: warehouse.duckdb, after sequences.sql. Parameters: $decay, $reach, $symmetry, $history_decay, $scale, $hop_items, $hop_successors, $users (user_index of the users to rank for). best_of_scored.sql ranks the scores.
-- Scores items with transitions over two hops. c(a, b), c(a) and N are those of transition_smoothed.sql. c2(i, j) is the
-- sum over the hop_successors strongest successors m of item i of c(i, m) * c(m, j) / (c(i) * c(m)), with the strongest
-- successors j of m. The score of item j is ln(1 + N * s / scale), where s is the sum of history_decay^recency * c2(h, j)
-- over the latest hop_items items h of the history. If fewer than k items have a score, the list is filled with popular
-- items, which get the score 0.
CREATE OR REPLACE TEMP TABLE hop AS
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
row_sum AS (SELECT item_index, sum(weight) AS total FROM summed GROUP BY item_index)
SELECT summed.item_index, next_item, weight / total AS share
FROM summed JOIN row_sum ON summed.item_index = row_sum.item_index
WHERE weight > 0
QUALIFY row_number() OVER (PARTITION BY summed.item_index ORDER BY weight DESC, next_item) <= $hop_successors;

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
