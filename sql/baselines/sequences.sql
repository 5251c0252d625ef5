-- database: warehouse.duckdb, read-only is enough. Parameters: $train_without, $history_without, $evaluated_from, $history_length, $mask_seen, $items.
-- The leave-one-out split as temporary tables, which the rankings of this folder read; run it before one of them.
--   $train_without    items that the end of a sequence keeps out of training: 2 for '[:-2]', 1 for '[:-1]', 0 for '[:]'
--   $history_without  items after the history: 1 for test, 2 for valid, 0 to serve
--   $evaluated_from   shortest sequence that is ranked: 3 for test and valid, 1 to serve; a sequence under 3 trains whole
--   $history_length   latest items of a history that count
--   $mask_seen        whether a user's items before the target are left out of the list
--   $items            item_index of those that may be listed, NULL for all
CREATE OR REPLACE TEMP TABLE sequence_row AS
SELECT user_index, item_index, position AS place, event_time, count(*) OVER (PARTITION BY user_index) AS sequence_length
FROM interaction JOIN user_account USING (user_id) JOIN item USING (item_id);

CREATE OR REPLACE TEMP TABLE train_row AS
SELECT user_index, item_index, place, event_time
FROM sequence_row
WHERE place < sequence_length - (CASE WHEN sequence_length >= 3 THEN $train_without ELSE 0 END);

CREATE OR REPLACE TEMP TABLE history_row AS -- recency 0 is the latest item
SELECT user_index, item_index, sequence_length - $history_without - 1 - place AS recency
FROM sequence_row
WHERE sequence_length >= $evaluated_from AND recency >= 0 AND recency < $history_length
ORDER BY user_index, recency;

CREATE OR REPLACE TEMP TABLE seen_row AS
SELECT DISTINCT user_index, item_index
FROM sequence_row
WHERE $mask_seen AND sequence_length >= $evaluated_from AND place < sequence_length - $history_without;

CREATE OR REPLACE TEMP TABLE popular_item AS -- popularity_rank 0 is the most popular; ties by item_index
SELECT item_index, count(train_row.item_index) AS interactions,
       row_number() OVER (ORDER BY count(train_row.item_index) DESC, item_index) - 1 AS popularity_rank
FROM item LEFT JOIN train_row USING (item_index)
WHERE $items IS NULL OR item_index IN (SELECT unnest($items))
GROUP BY item_index;
