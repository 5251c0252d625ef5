-- database: generation
-- Every score is a finite number: not NULL, NaN or infinity.
SELECT user_id, rank, item_id, score
FROM recommendation
WHERE score IS NULL OR NOT isfinite(score)
