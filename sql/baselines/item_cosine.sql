-- database: warehouse.duckdb, after sequences.sql. Parameters: $vectors (run_id of behaviour vectors), $history_decay, $users (user_index of those asked for), $k.
-- Item to item by the cosine of behaviour vectors: score of j = sum over the history, recency 0 for the latest item h, of
-- (recency + 1)^-history_decay * cos(h, j), over the sum of these weights. Cosines are linear in the history's unit
-- vectors, so these are added up first, one profile a user. Ties by training popularity; a user without an item that has
-- a vector, and what is left of a list when no further item has one, is filled by popularity with score -2.
CREATE OR REPLACE TEMP TABLE unit_vector AS
SELECT item_index, list_transform(vector, lambda x: (x / norm)::FLOAT) AS vector
FROM (
    SELECT item_index, vector, sqrt(list_inner_product(vector, vector)) AS norm
    FROM item_embedding JOIN item USING (item_id)
    WHERE run_id = $vectors
)
WHERE norm > 0;

WITH asked AS (
    SELECT user_index, item_index, (recency + 1) ** -$history_decay AS weight
    FROM history_row
    WHERE user_index IN (SELECT unnest($users))
),
asked_user AS (
    SELECT user_index, count(seen_row.item_index) AS seen_items
    FROM (SELECT DISTINCT user_index FROM asked) LEFT JOIN seen_row USING (user_index)
    GROUP BY user_index
),
component AS (
    SELECT user_index, unnest(range(len(vector))) AS place, unnest(vector) * weight AS value, weight
    FROM asked JOIN unit_vector USING (item_index)
),
profile AS (
    SELECT user_index, list(value ORDER BY place) AS vector
    FROM (SELECT user_index, place, (sum(value) / sum(weight))::FLOAT AS value FROM component GROUP BY ALL)
    GROUP BY user_index
),
candidate_vector AS (SELECT item_index, vector FROM unit_vector SEMI JOIN popular_item USING (item_index)),
-- Every item has a score; sorting is for those that can be among the k best that are not seen.
scored AS MATERIALIZED (
    SELECT user_index, item_index, list_inner_product(profile.vector, candidate_vector.vector) AS score
    FROM profile CROSS JOIN candidate_vector
),
threshold AS (
    SELECT user_index, list_min(max(score, $k + seen_items)) AS lowest
    FROM scored JOIN asked_user USING (user_index)
    GROUP BY user_index
),
candidate AS MATERIALIZED ( -- rounded: the order of a sum must not break ties
    SELECT user_index, item_index, round(score, 6) AS score
    FROM scored JOIN threshold USING (user_index)
    WHERE score >= lowest - 1e-6
),
best AS (
    SELECT user_index, item_index, score, row_number() OVER (PARTITION BY user_index ORDER BY score DESC, popularity_rank) AS rank
    FROM candidate JOIN popular_item USING (item_index)
    ANTI JOIN seen_row USING (user_index, item_index)
    QUALIFY rank <= $k
),
short AS (
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
SELECT user_index, rank, item_index, -2, true FROM filler
ORDER BY user_index, rank;
