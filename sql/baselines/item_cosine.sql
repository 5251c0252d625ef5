-- database: warehouse.duckdb, after sequences.sql. Parameters: $vectors (run_id of behaviour vectors), $history_decay, $users (user_index of those asked for). best_of_scored.sql ranks.
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

CREATE OR REPLACE TEMP TABLE scored_row AS
WITH asked AS (
    SELECT user_index, item_index, (recency + 1) ** -$history_decay AS weight
    FROM history_row
    WHERE user_index IN (SELECT unnest($users))
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
candidate_vector AS (SELECT item_index, vector FROM unit_vector SEMI JOIN popular_item USING (item_index))
SELECT user_index, item_index, list_inner_product(profile.vector, candidate_vector.vector) AS score
FROM profile CROSS JOIN candidate_vector;
