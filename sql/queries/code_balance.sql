-- database: serving
-- For each level of codes, the number of codes in use and the share of items that have the most frequent code.
SELECT level, count(*) AS num_codes_used, max(num_items) / sum(num_items) AS share_of_busiest_code
FROM code_usage
GROUP BY level
ORDER BY level;
