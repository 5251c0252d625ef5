-- database: warehouse.duckdb, after sequences.sql. Parameters: $users (user_index of the users to rank for), $k.
-- Lists the items with the most training interactions. The score of an item is the sum of the weights of its training
-- interactions: their number if all events weigh 1.
WITH user_seen AS (
    SELECT user_index, count(seen_row.item_index) AS seen_items
    FROM (SELECT DISTINCT user_index FROM history_row WHERE user_index IN (SELECT unnest($users)))
    LEFT JOIN seen_row USING (user_index)
    GROUP BY user_index
)
SELECT user_index, row_number() OVER (PARTITION BY user_index ORDER BY popularity_rank) AS rank, item_index, interactions AS score
FROM user_seen JOIN popular_item ON popularity_rank < $k + seen_items -- enough to leave k after removing seen items
ANTI JOIN seen_row USING (user_index, item_index)
QUALIFY rank <= $k
ORDER BY user_index, rank;
