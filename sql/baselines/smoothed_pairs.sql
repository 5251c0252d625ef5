-- database: warehouse.duckdb, after sequences.sql. Parameters: $decay, $reach, $symmetry. transition_smoothed.sql and transition_two_hops.sql read the table.
-- Counts how often items follow each other. Each pair of items a, b at distance 1 to reach in a training sequence adds
-- decay^(distance - 1), times the weights of both interactions, to c(a, b), and symmetry times as much to c(b, a). The
-- column weight is c(a, b), and the column total is c(a), the sum over b.
CREATE OR REPLACE TEMP TABLE smoothed_pair AS
WITH pair AS (
    SELECT earlier.item_index AS first_item, later.item_index AS second_item,
           sum(earlier.weight * later.weight * $decay ** (later.position - earlier.position - 1)) AS weight
    FROM train_row AS earlier JOIN train_row AS later
      ON earlier.user_index = later.user_index AND later.position > earlier.position AND later.position <= earlier.position + $reach
    GROUP BY ALL
),
both_ways AS (
    SELECT first_item AS item_index, second_item AS next_item, weight FROM pair
    UNION ALL
    SELECT second_item, first_item, $symmetry * weight FROM pair
),
summed AS (SELECT item_index, next_item, round(sum(weight), 9) AS weight FROM both_ways GROUP BY ALL)
SELECT item_index, next_item, weight, sum(weight) OVER (PARTITION BY item_index) AS total FROM summed;
