-- database: warehouse.duckdb, which may be open read-only. Parameters: $items (item_index of the items that may be listed, NULL for all).
-- The other files of this folder read four temporary tables. The program makes three of them with the functions of
-- semconv.data, which work out the interactions from the events: returns, repeats, weights of event types, and cuts.
--   train_row    (user_index, item_index, position, event_time, weight): the interactions for training
--   history_row  (user_index, item_index, recency): the latest items of each history; recency 0 is the latest item
--   seen_row     (user_index, item_index): the items that a list leaves out, empty if seen items are kept
CREATE OR REPLACE TEMP TABLE popular_item AS -- popularity_rank 0 is the most popular; ties by item_index
WITH counted AS (
    SELECT item_index, round(coalesce(sum(weight), 0), 9) AS interactions -- rounded, so that the order of additions in a sum breaks no tie
    FROM item LEFT JOIN train_row USING (item_index)
    WHERE $items IS NULL OR item_index IN (SELECT unnest($items))
    GROUP BY item_index
)
SELECT item_index, interactions, row_number() OVER (ORDER BY interactions DESC, item_index) - 1 AS popularity_rank
FROM counted;
