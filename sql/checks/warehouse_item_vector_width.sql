-- database: warehouse
-- The item vectors of a run have the same length, and all their numbers are finite.
SELECT run_id, min(len(vector)) AS narrowest, max(len(vector)) AS widest, count(*) AS num_vectors
FROM item_embedding
GROUP BY run_id
HAVING min(len(vector)) <> max(len(vector)) OR NOT bool_and(isfinite(list_sum(vector)))
