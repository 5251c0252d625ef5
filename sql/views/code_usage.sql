-- database: generation
-- How many items use each code of each level (levels count from 0, as in the code tokens a, b, c, d).
CREATE VIEW code_usage AS
SELECT level, code, count(*) AS num_items, generation
FROM (
    SELECT generation, unnest(codes) AS code, generate_subscripts(codes, 1) - 1 AS level
    FROM item_code
)
GROUP BY level, code, generation
ORDER BY level, code;
