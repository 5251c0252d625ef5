-- database: warehouse.duckdb, which may be open read-only. Parameters: $train_without, $history_without, $evaluated_from, $is_temporal, $train_before, $history_before, $target_before, $history_length, $mask_seen, $items.
-- Splits the sequences of all users into temporary tables. The other files of this folder read these tables.
--   $train_without    number of last items of a sequence that are not used for training: 2 for '[:-2]', 1 for '[:-1]', 0 for '[:]'
--   $history_without  number of last items that are not in the history: 1 for test, 2 for valid, 0 for serving
--   $evaluated_from   length of the shortest sequence that gets a list: 3 for test and valid, 1 for serving. A
--                     sequence shorter than 3 is used for training as a whole
--   $is_temporal      whether sequences are split by time instead. Users with an interaction without a time are then
--                     neither used for training nor ranked. The next three parameters are times, in microseconds since
--                     1970, NULL for no end:
--   $train_before     interactions before this time are used for training
--   $history_before   interactions before this time are the history; the next interaction is the target
--   $target_before    targets must lie before this time
--   $history_length   number of latest items of a history that are used
--   $mask_seen        whether the items before the target are left out of the list
--   $items            item_index of the items that may be listed, NULL for all
CREATE OR REPLACE TEMP TABLE user_cut AS
WITH sequence AS (
    SELECT user_index, count(*) AS length, count(*) = count(event_time) AS is_dated,
           coalesce(min(position) FILTER (epoch_us(event_time) >= $train_before::BIGINT), length) AS before_train_cut,
           coalesce(min(position) FILTER (epoch_us(event_time) >= $history_before::BIGINT), length) AS before_history_cut,
           coalesce(min(position) FILTER (epoch_us(event_time) >= $target_before::BIGINT), length) AS before_target_cut
    FROM interaction JOIN user_account USING (user_id)
    GROUP BY user_index
)
SELECT user_index,
       CASE WHEN $is_temporal AND (is_dated OR $train_before IS NULL) THEN before_train_cut WHEN $is_temporal THEN 0 WHEN length >= 3 THEN length - $train_without ELSE length END AS train_length,
       CASE WHEN NOT $is_temporal THEN length - $history_without ELSE before_history_cut END AS history_end,
       CASE WHEN NOT $is_temporal OR $history_before IS NULL THEN length >= $evaluated_from
            ELSE is_dated AND before_history_cut BETWEEN 1 AND before_target_cut - 1 END AS is_ranked
FROM sequence;

CREATE OR REPLACE TEMP TABLE sequence_row AS
SELECT user_index, item_index, position, event_time, train_length, history_end, is_ranked
FROM interaction JOIN user_account USING (user_id) JOIN item USING (item_id) JOIN user_cut USING (user_index);

CREATE OR REPLACE TEMP TABLE train_row AS
SELECT user_index, item_index, position, event_time
FROM sequence_row
WHERE position < train_length;

CREATE OR REPLACE TEMP TABLE history_row AS -- recency 0 is the latest item
SELECT user_index, item_index, history_end - 1 - position AS recency
FROM sequence_row
WHERE is_ranked AND recency >= 0 AND recency < $history_length
ORDER BY user_index, recency;

CREATE OR REPLACE TEMP TABLE seen_row AS
SELECT DISTINCT user_index, item_index
FROM sequence_row
WHERE $mask_seen AND is_ranked AND position < history_end;

CREATE OR REPLACE TEMP TABLE popular_item AS -- popularity_rank 0 is the most popular; ties by item_index
SELECT item_index, count(train_row.item_index) AS interactions,
       row_number() OVER (ORDER BY count(train_row.item_index) DESC, item_index) - 1 AS popularity_rank
FROM item LEFT JOIN train_row USING (item_index)
WHERE $items IS NULL OR item_index IN (SELECT unnest($items))
GROUP BY item_index;
