-- database: warehouse.duckdb, after sequences.sql. Parameters: $vectors (run_id of behaviour vectors), $history_decay, $users (user_index of the users to rank for). best_of_scored.sql ranks the scores.
-- Scores items by the cosine of behaviour vectors. The score of item j is the weighted mean of cos(h, j) over the items
-- h of the history. The weight of h is (recency + 1)^-history_decay; the latest item has recency 0. A cosine is linear
-- in the unit vector of h, so the weighted mean of the unit vectors of the history is computed first: the profile of
-- the user. If fewer than k items have a vector, or no item of the history has one, the list is filled with popular
-- items, which get the score -2.
CREATE OR REPLACE TEMP TABLE unit_vector AS
SELECT item_index, list_transform(vector, lambda x: (x / norm)::FLOAT) AS vector
FROM (
    SELECT item_index, vector, sqrt(list_inner_product(vector, vector)) AS norm
    FROM item_embedding JOIN item USING (item_id)
    WHERE run_id = $vectors
)
WHERE norm > 0;

CREATE OR REPLACE TEMP TABLE scored_row AS
WITH weighted_history AS (
    SELECT user_index, item_index, (recency + 1) ** -$history_decay AS weight
    FROM history_row
    WHERE user_index IN (SELECT unnest($users))
),
component AS (
    SELECT user_index, unnest(range(len(vector))) AS dimension, unnest(vector) * weight AS value, weight
    FROM weighted_history JOIN unit_vector USING (item_index)
),
profile AS (
    SELECT user_index, list(value ORDER BY dimension) AS vector
    FROM (SELECT user_index, dimension, (sum(value) / sum(weight))::FLOAT AS value FROM component GROUP BY ALL)
    GROUP BY user_index
),
candidate_vector AS (SELECT item_index, vector FROM unit_vector SEMI JOIN popular_item USING (item_index))
SELECT user_index, item_index, list_inner_product(profile.vector, candidate_vector.vector) AS score
FROM profile CROSS JOIN candidate_vector;
