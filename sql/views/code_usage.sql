-- database: generation
-- This view has the number of items with each code of each level. Code tokens have the letter a for level 0, and b for level 1.
CREATE VIEW code_usage AS
SELECT level, code, count(*) AS num_items, generation
FROM (
    SELECT generation, unnest(codes) AS code, generate_subscripts(codes, 1) - 1 AS level
    FROM item_code
)
GROUP BY level, code, generation
ORDER BY level, code;
