-- database: warehouse.duckdb, after sequences.sql and a ranking that leaves scored_row (user_index, item_index, score). Parameters: $users (user_index of those asked for), $k, $digits, $filler_score.
-- The k best that a user has not seen, ties by training popularity; a list that the scores cannot fill is filled by
-- popularity. Thousands of items have a score; sorting is for those that can be among the k best that are not seen.
WITH asked_user AS (
    SELECT user_index, count(seen_row.item_index) AS seen_items
    FROM (SELECT DISTINCT user_index FROM history_row WHERE user_index IN (SELECT unnest($users)))
    LEFT JOIN seen_row USING (user_index)
    GROUP BY user_index
),
threshold AS (
    SELECT user_index, list_min(max(score, $k + seen_items)) AS lowest
    FROM scored_row JOIN asked_user USING (user_index)
    GROUP BY user_index
),
candidate AS MATERIALIZED ( -- rounded: the order of a sum must not break ties
    SELECT user_index, item_index, round(score, $digits) AS score
    FROM scored_row JOIN threshold USING (user_index)
    WHERE score >= lowest - 10.0 ** -$digits
),
best AS (
    SELECT user_index, item_index, score, row_number() OVER (PARTITION BY user_index ORDER BY score DESC, popularity_rank) AS rank
    FROM candidate JOIN popular_item USING (item_index)
    ANTI JOIN seen_row USING (user_index, item_index)
    QUALIFY rank <= $k
),
short AS ( -- users whose list the scores cannot fill
    SELECT user_index, seen_items, count(best.item_index) AS listed
    FROM asked_user LEFT JOIN best USING (user_index)
    GROUP BY ALL
    HAVING listed < $k
),
filler AS (
    SELECT user_index, item_index, listed + row_number() OVER (PARTITION BY user_index ORDER BY popularity_rank) AS rank
    FROM short JOIN popular_item ON popularity_rank < $k + listed + seen_items -- enough that are neither listed nor seen
    ANTI JOIN seen_row USING (user_index, item_index)
    ANTI JOIN best USING (user_index, item_index)
    QUALIFY rank <= $k
)
SELECT user_index, rank, item_index, score, false AS is_filler FROM best
UNION ALL
SELECT user_index, rank, item_index, $filler_score, true FROM filler
ORDER BY user_index, rank;
