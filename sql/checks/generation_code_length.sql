-- database: generation
-- All items have codes on the same number of levels.
SELECT item_id, len(codes) AS num_levels
FROM item_code
WHERE len(codes) <> (SELECT mode(len(codes)) FROM item_code)
