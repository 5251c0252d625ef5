-- database: warehouse.duckdb, after sequences.sql and a file that creates the table scored_row (user_index, item_index, score). Parameters: $users (user_index of the users to rank for), $k, $digits, $filler_score.
-- Lists the k best items of each user that the user has not seen. Ties are broken by popularity in the training data.
-- If fewer than k items have a score, the list is filled with the most popular of the other items. A user can have
-- thousands of scored items, so only the items that can be among the k best are sorted.
WITH user_seen AS (
    SELECT user_index, count(seen_row.item_index) AS seen_items
    FROM (SELECT DISTINCT user_index FROM history_row WHERE user_index IN (SELECT unnest($users)))
    LEFT JOIN seen_row USING (user_index)
    GROUP BY user_index
),
threshold AS (
    SELECT user_index, list_min(max(score, $k + seen_items)) AS lowest
    FROM scored_row JOIN user_seen USING (user_index)
    GROUP BY user_index
),
candidate AS MATERIALIZED ( -- rounded, so that the order of additions in a sum breaks no tie
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
short AS ( -- users with fewer than k scored items
    SELECT user_index, seen_items, count(best.item_index) AS listed
    FROM user_seen LEFT JOIN best USING (user_index)
    GROUP BY ALL
    HAVING listed < $k
),
filler AS (
    SELECT user_index, item_index, listed + row_number() OVER (PARTITION BY user_index ORDER BY popularity_rank) AS rank
    FROM short JOIN popular_item ON popularity_rank < $k + listed + seen_items -- enough to leave k after removing listed and seen items
    ANTI JOIN seen_row USING (user_index, item_index)
    ANTI JOIN best USING (user_index, item_index)
    QUALIFY rank <= $k
)
SELECT user_index, rank, item_index, score, false AS is_filler FROM best
UNION ALL
SELECT user_index, rank, item_index, $filler_score, true FROM filler
ORDER BY user_index, rank;
