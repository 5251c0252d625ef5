-- database: generation
-- Scores are numbers: no NULL, NaN or infinity.
SELECT user_id, rank, item_id, score
FROM recommendation
WHERE score IS NULL OR NOT isfinite(score)
